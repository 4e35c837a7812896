"""Between supervisor and workers: messages, file descriptors, listening sockets."""
