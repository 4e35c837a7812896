"""Collectors of what is looked up at the time of a scrape, besides what workers count."""
