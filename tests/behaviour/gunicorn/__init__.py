"""Our worker class as gunicorn users know workers: what an application may do (PEP 3333), and their settings."""
