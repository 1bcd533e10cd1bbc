"""planning: what a training costs before it runs, and what it might be improved by (SPEC M4)."""
