"""Features of labelled texts and of the corpus: augmented rows, TF-IDF, word vectors."""
