"""evaluation: how good a model is, against what, where it fails (SPEC E1-E6, T12)."""
