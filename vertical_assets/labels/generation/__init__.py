"""labels of generation: pairs of a prompt and its answer, as the sources have them."""
