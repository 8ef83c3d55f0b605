"""A Redis that refuses, or is not what it should be."""
