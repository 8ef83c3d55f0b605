"""Checks of the environment and of Redis, before the service accepts clients."""
