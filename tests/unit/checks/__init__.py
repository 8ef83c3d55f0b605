"""Of pushsvc/checks."""
