"""How the service can be observed: log lines, the ids of requests in them, and traces over several services."""
