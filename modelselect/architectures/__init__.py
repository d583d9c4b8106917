"""Architectures as graphs, and the encoders that turn graphs into vectors."""
