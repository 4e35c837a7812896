"""Responses to bytes, and bytes to the transport."""
