"""The operating system and the service manager: users, files, /proc, notifications."""
