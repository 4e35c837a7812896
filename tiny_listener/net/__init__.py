"""Sockets: event loops that can take listening sockets over, addresses, datagrams, file descriptors."""
