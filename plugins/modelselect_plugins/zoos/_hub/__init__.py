"""Access to the Hub."""
