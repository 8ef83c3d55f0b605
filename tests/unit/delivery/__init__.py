"""Of pushsvc/delivery."""
