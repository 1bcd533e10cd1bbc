"""release: the quantized artifact that is served (SPEC P3, P4)."""
