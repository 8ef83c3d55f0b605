"""The packages, and what the Python client costs."""
