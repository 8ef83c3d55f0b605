"""The service under test, its sites, and what they live through."""
