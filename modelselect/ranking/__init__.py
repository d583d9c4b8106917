"""Candidates in order, as plain data that is saved, sent and compared."""
