"""Which server to ask: one, a sentinels' master, a cluster's nodes."""
