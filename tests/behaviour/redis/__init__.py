"""What the service asks of Redis, and what it must not."""
