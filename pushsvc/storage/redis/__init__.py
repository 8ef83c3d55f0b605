"""The client of Redis. Only this folder and the checks import redis-py."""
