"""Model configurations: those shipped in config/models, the artifact's, and anyone's."""
