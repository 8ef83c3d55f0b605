"""Thin parts for other people's applications of Flask, Django, FastAPI and SQLAlchemy. Each needs `pushsvc.client`, and
the library that it is for."""
