"""One module a section: `context(results)` gathers what its template of the same name shows."""
