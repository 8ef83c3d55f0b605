"""HTTP itself: where requests end, what is refused, and how connections go on."""
