"""validity: what a document must be like, and where the others go (SPEC D4, D5)."""
