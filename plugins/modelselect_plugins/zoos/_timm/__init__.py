"""How timm builds and loads models."""
