"""The worker's subscription to Redis."""
