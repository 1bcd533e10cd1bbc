"""personal: who is meant stays hidden (SPEC X1)."""
