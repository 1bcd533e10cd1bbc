"""One training loop: batches, schedules, logs, checkpoints, privacy (SPEC M11-M13, T5-T11, X1)."""
