"""The commands that the service asks of Redis, and what it must not ask."""
