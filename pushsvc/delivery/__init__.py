"""Subscribers, and the delivery of events to them: hub, fan-out, catching up."""
