"""The carrier of published events: a process next to the workers, and the supervisor's side of it."""
