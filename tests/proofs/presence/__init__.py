"""The time until `GET /presence` is right: `python -m tests.proofs.presence`."""
