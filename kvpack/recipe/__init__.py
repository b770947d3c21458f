"""recipes/*.toml -> Recipe, Target: what to build."""
