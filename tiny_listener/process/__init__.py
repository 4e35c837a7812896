"""What runs a listener in this process: the run of its event loop, its tasks, its shutdown, its forks."""
