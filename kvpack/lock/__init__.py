"""lock/*.toml -> Lock: exactly which bytes."""
