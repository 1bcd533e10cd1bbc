"""authors: what may be said of people, k-anonymous or differentially private (SPEC X1)."""
