"""The published artifact: fetched, verified against a lock of git blob ids, and read into tidy tables."""
