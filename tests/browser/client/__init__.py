"""The browser client, and applications and pages that use it."""
