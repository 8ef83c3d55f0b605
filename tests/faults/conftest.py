"""What all tests of faults have in common."""

from tests.support.processes import without_coverage

__all__ = ["without_coverage"]
