"""The funnel: `select()` and its stages, and `plan()`."""
