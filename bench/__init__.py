"""The costs of the service, measured against the least that a machine can do. See README.md."""
