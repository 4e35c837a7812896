"""HTTP/1.1 and 1.0 on the wire (RFC 9112): connections, from their first byte to their last."""
