"""Ways in which bytes reach one client."""
