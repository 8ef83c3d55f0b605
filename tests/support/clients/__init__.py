"""Clients of the stack, and what is between them."""
