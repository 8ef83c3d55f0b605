"""What all tests in browsers have in common."""

from tests.support.processes import without_coverage

__all__ = ["without_coverage"]
