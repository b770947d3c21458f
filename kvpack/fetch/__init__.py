"""Registries and store -> blobs, source trees: those bytes, verified."""
