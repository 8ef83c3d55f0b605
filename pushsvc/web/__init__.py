"""HTTP, one file for each resource. Only this room knows Flask."""
