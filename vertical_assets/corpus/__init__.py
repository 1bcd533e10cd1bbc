"""corpus: from sources to valid, deduplicated documents (SPEC D1-D5)."""
