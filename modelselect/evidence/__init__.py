"""What one candidate says about one probe, as arrays, and the statistics that estimators share."""
