"""Encoders of architectures: from graphs to vectors."""
