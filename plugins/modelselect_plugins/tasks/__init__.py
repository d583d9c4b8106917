"""The tasks that come with modelselect, each in a file of its own."""
