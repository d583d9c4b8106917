"""Published experiments, run by name: what they need, the run itself, and our figures next to the published ones."""
