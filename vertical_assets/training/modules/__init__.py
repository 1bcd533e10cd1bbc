"""Modules: what sits on the base encoder, from its tokens' states to a task's loss (SPEC M5-M10)."""
