"""The pages, and browsers' own clients."""
