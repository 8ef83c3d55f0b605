"""Measures what cheap requests cost others: `python -m tests.proofs.cost` runs each attack against a real stack."""
