"""The measured servers: the service, and others beside it."""
