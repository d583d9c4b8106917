"""A ranking as a page, as charts, as a figure and as a model card."""
