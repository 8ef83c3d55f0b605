"""The gunicorn worker: it parses requests, gives sockets to the Hub, drains connections, and reloads."""
