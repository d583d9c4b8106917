"""The store: what was computed stays computed, across runs and crashes."""
