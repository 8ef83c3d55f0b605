"""The way to speak to Redis. Only this room knows redis-py."""
