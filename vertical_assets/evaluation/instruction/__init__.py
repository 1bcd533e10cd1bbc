"""evaluation of instructions: tasks in HumanEval's format, run in a sandbox, pass@k (SPEC E3)."""
