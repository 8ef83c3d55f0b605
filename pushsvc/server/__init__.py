"""The gunicorn worker: sockets that are given away, draining, reload."""
