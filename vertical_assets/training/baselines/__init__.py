"""What a model has to beat: models that read texts without a network (SPEC E4)."""
