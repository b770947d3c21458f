"""Stand-in for Mooncake, made for kvpack's tests: it transfers nothing."""
