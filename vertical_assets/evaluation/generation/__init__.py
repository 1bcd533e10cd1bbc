"""evaluation of generation: ROUGE-L, BLEU, chrF and perplexity beside a baseline (SPEC E2)."""
