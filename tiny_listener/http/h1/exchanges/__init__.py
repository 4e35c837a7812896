"""A request in flight and its response, from the handler to the last byte."""
