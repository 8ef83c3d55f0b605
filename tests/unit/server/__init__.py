"""Of pushsvc/server."""
