"""Gold: one target per item, its split, and whether the set may be learnt from."""
