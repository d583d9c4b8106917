"""The shipped plugins. Each is registered by an entry point, like a third-party plugin."""
