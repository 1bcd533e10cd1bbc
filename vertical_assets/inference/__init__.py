"""Inference: from texts to a network's inputs, from its outputs to answers; no torch."""
