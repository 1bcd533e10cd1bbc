"""Modules: what sits on the base encoder, from its states to a task's loss (SPEC M5-M10)."""
