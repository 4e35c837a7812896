"""--reload: files that change while somebody develops."""
