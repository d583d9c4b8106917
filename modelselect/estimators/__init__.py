"""The contract of estimators, and what all of them share."""
