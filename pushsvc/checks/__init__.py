"""All that is looked at before anybody is served: the environment, and what Redis is and does."""
