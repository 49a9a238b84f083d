"""Many GPUs: collectives on described systems."""
