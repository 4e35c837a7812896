"""Published events: their life, their order by key, and where they are stored."""
