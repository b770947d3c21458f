"""Sets of wheels -> proof of who owns what, before anything is installed."""
