"""How answers hold under noise in the text and under FGSM (SPEC E5, E6)."""
