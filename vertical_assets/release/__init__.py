"""release: the quantized artifact, releases and which of them answers (SPEC P3, P4, O3)."""
