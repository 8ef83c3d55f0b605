"""Parts of the service in the process of a test."""
