"""One kernel's latency: baselines, NeuSight, and ours, behind one small interface."""
