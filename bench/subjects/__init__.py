"""What is measured: the service, and others beside it."""
