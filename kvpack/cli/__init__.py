"""The command line: one file per command; only here are stages joined."""
