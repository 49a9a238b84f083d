"""One training or inference step on many GPUs: layout, memory, messages, schedule."""
