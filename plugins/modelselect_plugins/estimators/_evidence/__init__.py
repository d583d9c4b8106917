"""What the estimator `evidence` is made of: the pieces, and what each needs."""
