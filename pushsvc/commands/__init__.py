"""The commands that call the service."""
