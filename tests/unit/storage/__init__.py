"""Of pushsvc/storage."""
