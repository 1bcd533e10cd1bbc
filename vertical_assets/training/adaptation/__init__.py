"""How a base model is made fit: converted, cut, pruned, distilled (SPEC M1-M3)."""
