"""The tables of docs/clients.md."""
