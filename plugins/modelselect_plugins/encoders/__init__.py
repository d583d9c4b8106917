"""Graph in, vector out: encoders of architectures."""
