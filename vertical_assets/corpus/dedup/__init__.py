"""dedup: one document per cluster of duplicates (SPEC D3)."""
