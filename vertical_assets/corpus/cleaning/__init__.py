"""cleaning: one way of writing, words told apart (SPEC D9, D10)."""
