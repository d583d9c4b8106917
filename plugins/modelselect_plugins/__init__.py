"""The shipped plugins: each is registered by an entry point, as a stranger's would be."""
