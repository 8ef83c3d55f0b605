"""Of pushsvc/concurrency."""
