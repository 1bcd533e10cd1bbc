"""Lexical models: TF-IDF with logistic regression, fitted in seconds.

They are baselines of the vertical's model (SPEC E4), and judge labels where there is no model yet.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertical_assets.spec import VerticalSpec

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

MIN_DOCUMENTS = 2  # an n-gram seen once can't help on other texts


def tfidf(spec: VerticalSpec) -> "TfidfVectorizer":
    """TF-IDF of the baselines: characters 1-3 where words have no spaces, else words 1-2."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    by_character = not spec.spaced
    return TfidfVectorizer(
        analyzer="char" if by_character else "word",
        ngram_range=(1, 3) if by_character else (1, 2),
        min_df=MIN_DOCUMENTS,
        sublinear_tf=True,
        dtype=np.float32,
    )


def fit_tfidf_classifier(
    texts: list[str], labels: list[str], spec: VerticalSpec
) -> tuple["TfidfVectorizer", "LogisticRegression"]:
    """TF-IDF with logistic regression, C = 10, as scikit-learn's own models."""
    from sklearn.linear_model import LogisticRegression

    vectorizer = tfidf(spec)
    model = LogisticRegression(C=10.0, max_iter=200)
    model.fit(vectorizer.fit_transform(texts), labels)
    return vectorizer, model


def tfidf_logistic_regression(
    train_texts: list[str], train_labels: list[str], texts: list[str], spec: VerticalSpec
) -> np.ndarray:
    """Probabilities, texts x labels, of TF-IDF with logistic regression."""
    vectorizer = tfidf(spec)
    train = vectorizer.fit_transform(train_texts)
    return logistic_regression(train, train_labels, vectorizer.transform(texts), spec)


def logistic_regression(
    train: "csr_matrix", train_labels: Sequence[str], asked: "csr_matrix", spec: VerticalSpec
) -> np.ndarray:
    """Probabilities, rows of `asked` x labels, of logistic regression, C = 10."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10.0, max_iter=200).fit(train, train_labels)
    probabilities = np.zeros((asked.shape[0], len(spec.labels)))
    columns = [spec.labels.index(label) for label in model.classes_]
    # A label that training never saw keeps probability 0.
    probabilities[:, columns] = model.predict_proba(asked)
    return probabilities


def tfidf_one_vs_rest(
    train_texts: list[str],
    train_labels: Sequence[Sequence[str]],
    texts: list[str],
    spec: VerticalSpec,
) -> np.ndarray:
    """Probabilities, texts x labels, of TF-IDF with a logistic regression per label."""
    vectorizer = tfidf(spec)
    train = vectorizer.fit_transform(train_texts)
    return one_vs_rest(train, train_labels, vectorizer.transform(texts), spec)


def one_vs_rest(
    train: "csr_matrix",
    train_labels: Sequence[Sequence[str]],
    asked: "csr_matrix",
    spec: VerticalSpec,
) -> np.ndarray:
    """Probabilities, rows of `asked` x labels, each label by a logistic regression of its own,
    C = 10.
    """
    from sklearn.linear_model import LogisticRegression

    probabilities = np.zeros((asked.shape[0], len(spec.labels)))
    for code, label in enumerate(spec.labels):
        has = np.array([label in each for each in train_labels])
        if has.all() or not has.any():  # nothing to tell apart
            probabilities[:, code] = float(has.any())
            continue
        model = LogisticRegression(C=10.0, max_iter=200).fit(train, has)
        probabilities[:, code] = model.predict_proba(asked)[:, 1]
    return probabilities
