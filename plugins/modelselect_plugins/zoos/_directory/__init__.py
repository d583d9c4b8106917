"""What the `directory` zoo needs: a folder as its files describe it, and code that a folder brings."""
