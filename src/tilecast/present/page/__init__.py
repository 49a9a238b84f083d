"""The page a reviewer reads: sections registered in `page`, each a context function and a template."""
