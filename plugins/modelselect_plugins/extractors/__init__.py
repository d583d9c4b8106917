"""One extractor for each kind of device."""
