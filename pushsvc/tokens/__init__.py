"""Keys that verify tokens, and which tokens were taken back."""
