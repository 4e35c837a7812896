"""Published events on NATS JetStream: one stream for an application, and the servers that share it.

The stream stores, orders and fences. Here is what the protocol leaves to clients: which server owns which partition,
windows for pulls and publishes, and what is asked again after a reconnect.
"""
