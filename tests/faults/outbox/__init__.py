"""The outbox, and the relay that is killed."""
