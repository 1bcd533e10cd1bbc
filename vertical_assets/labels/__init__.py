"""labels: who said what about which item, how far they agree, and the gold label (SPEC D6-D8)."""
