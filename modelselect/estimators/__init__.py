"""The interface of estimators, and the code that all of them share."""
