"""What is known of one candidate on one probe, as arrays, and the statistics that estimators share."""
