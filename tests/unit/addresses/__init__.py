"""Of pushsvc/addresses."""
