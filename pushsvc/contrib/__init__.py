"""For other people's applications: thin parts for Flask, Django, FastAPI and SQLAlchemy. Each needs `pushsvc.client`,
and the library that it is for."""
