"""How the Hub is asked."""
