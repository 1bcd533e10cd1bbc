"""Which model answers: gates read again, the comparison with the champion, approval (SPEC O3)."""
