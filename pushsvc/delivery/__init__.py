"""Listeners, and the way of events to them: hub, fan-out, catching up."""
