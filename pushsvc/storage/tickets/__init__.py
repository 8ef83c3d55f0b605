"""Tickets and the sessions that they begin."""
