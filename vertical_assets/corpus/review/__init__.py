"""review: a sample that people judge (SPEC D5)."""
