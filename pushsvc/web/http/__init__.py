"""The parts that all resources share: they read and check a request, and answer or refuse it."""
