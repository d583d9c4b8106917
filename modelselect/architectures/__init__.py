"""Architectures as graphs, and the vectors that encoders make of them."""
