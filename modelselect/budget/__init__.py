"""A budget: what may be spent, what is left, and which candidates may still win."""
