"""The baseline: logistic regression on TF-IDF (SPEC E4)."""

import numpy as np

from vertical_assets.spec import VerticalSpec

MIN_DOCUMENTS = 2  # an n-gram seen once can't help on other texts


def tfidf_logistic_regression(
    train_texts: list[str], train_labels: list[str], texts: list[str], spec: VerticalSpec
) -> np.ndarray:
    """Probabilities, texts x labels, of TF-IDF (characters 1-3 where words have no spaces, else
    words 1-2) with logistic regression, C = 10.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    by_character = not spec.spaced
    vectorizer = TfidfVectorizer(
        analyzer="char" if by_character else "word",
        ngram_range=(1, 3) if by_character else (1, 2),
        min_df=MIN_DOCUMENTS,
        sublinear_tf=True,
        dtype=np.float32,
    )
    model = LogisticRegression(C=10.0, max_iter=200)
    model.fit(vectorizer.fit_transform(train_texts), train_labels)
    found = model.predict_proba(vectorizer.transform(texts))
    probabilities = np.zeros((len(texts), len(spec.labels)))
    columns = [spec.labels.index(label) for label in model.classes_]
    probabilities[:, columns] = found  # a label that training never saw keeps probability 0
    return probabilities
