"""Batches: what people's files and simulated annotators say, checked against the standard."""
