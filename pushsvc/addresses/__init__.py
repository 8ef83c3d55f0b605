"""Where something is, read strictly: Redis, web origins. Pure."""
