"""Sockets: event loops that can take over listening sockets, addresses, datagrams, file descriptors."""
