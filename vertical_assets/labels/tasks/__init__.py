"""tasks: what to label next, pre-labelled, and who should do it (SPEC D7)."""
