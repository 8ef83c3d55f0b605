"""Reads events from the log, for those that join and for `GET /history`."""
