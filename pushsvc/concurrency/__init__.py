"""Tools for gevent, independent of the rest of the service."""
