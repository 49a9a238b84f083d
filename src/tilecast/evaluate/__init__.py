"""Errors against measured labels, the artifact's own summary tables, and the audit of published claims."""
