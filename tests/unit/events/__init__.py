"""Of pushsvc/events."""
