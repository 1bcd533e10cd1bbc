"""training of generation: a decoder, its pretraining and instruction tuning, sampling."""
