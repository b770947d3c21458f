"""Audited wheels -> releases, indexes and channels on object storage."""
