"""Bytes to requests. Pure."""
