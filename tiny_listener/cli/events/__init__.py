"""Options and commands of published events."""
