"""Another master, and parts of a cluster that are gone."""
