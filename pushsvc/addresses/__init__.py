"""Addresses of Redis, of servers and of web origins, read strictly. Pure."""
