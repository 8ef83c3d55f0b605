"""Finds the server to connect to: a single one, a sentinels' master, or a cluster's nodes."""
