"""Model configurations: those shipped in data/models, the artifact's, and anyone's."""
