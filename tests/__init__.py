"""The tests. A helper's assertions say as much as those of a test."""

import pytest

pytest.register_assert_rewrite("tests.support")
