"""Tools for gevent. They know nothing of pushing."""
