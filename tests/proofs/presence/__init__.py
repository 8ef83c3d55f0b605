"""How soon `GET /presence` is right: `python -m tests.proofs.presence`."""
