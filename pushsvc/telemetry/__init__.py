"""The means to observe the service: log lines, the ids of requests in them, and traces over several services."""
