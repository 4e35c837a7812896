"""--reload: reload the code when files change, for development."""
