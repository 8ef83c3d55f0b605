"""Publishing, through the service and straight into Redis."""
