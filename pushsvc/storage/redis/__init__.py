"""The client of Redis. Only this room, and the checks, know redis-py."""
