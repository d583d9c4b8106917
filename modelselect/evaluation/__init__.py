"""The work on one candidate: evidence, scores, costs and fine-tuning, all through the store."""
