"""Features: each a folder that adds one capability to a container."""
