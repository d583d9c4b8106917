"""Code that several estimators share."""
