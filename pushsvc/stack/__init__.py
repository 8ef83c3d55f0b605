"""`up`: Valkey, gunicorn and nginx as children of one supervisor."""
