"""Processes and connections that end, hang or are replaced."""
