"""The paths that operators ask."""
