"""How transformers' models are loaded and read."""
