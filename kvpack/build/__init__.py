"""Lock + target -> BuiltWheel: one action, by cibuildwheel, with no network."""
