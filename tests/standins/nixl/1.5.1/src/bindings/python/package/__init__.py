"""Stand-in for a NIXL back end, made for kvpack's tests: it transfers nothing."""
