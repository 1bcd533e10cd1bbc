"""errors: where the model is weak, and which items people should look at again (SPEC T12)."""
