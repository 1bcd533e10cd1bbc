"""monthly: every month a second annotator checks a share of its items (SPEC D8)."""
