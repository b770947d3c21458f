"""Stand-in for MoRI's cco."""
