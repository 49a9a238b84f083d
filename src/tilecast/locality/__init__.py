"""Host-memory locality: studies, their runner, the profiles' analysis, the model, the statistics."""
