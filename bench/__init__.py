"""What the service costs, measured against the least that a machine can do. See README.md."""
