"""evaluation: how good the model is, against baselines (SPEC E1, E4)."""
