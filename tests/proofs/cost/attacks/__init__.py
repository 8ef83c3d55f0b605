"""The attacks: a module for each kind, with a dict `ATTACKS` by name."""
