"""HTTP to the service: its address, and connections that are kept open."""
