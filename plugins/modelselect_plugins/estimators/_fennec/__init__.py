"""The parts of Fennec."""
