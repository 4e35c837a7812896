"""What runs a listener in this process: its event loop's run, its tasks, its end, its forks."""
