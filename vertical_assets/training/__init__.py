"""training: domain adaptation of a base model, fine-tuning, and the baselines (SPEC M, T, E4)."""
