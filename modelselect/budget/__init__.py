"""A budget: what may be spent, what is left, and who may still win."""
