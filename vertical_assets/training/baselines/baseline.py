"""The baselines, which read texts without a network, by the kind of the task (SPEC E4).

| task.kind | baseline |
|---|---|
| classification | logistic regression on TF-IDF |
| multi_label | one logistic regression a label on TF-IDF |
| entities | a dictionary of the training spans, see `dictionary` |
| question_answering | the phrase that is most like the question, see `overlap` |
| regression | ridge regression on TF-IDF |

Beside it, of labels and numbers, gradient-boosted trees, see `boosting`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vertical_assets.labels.splits import Items
from vertical_assets.labels.targets import Target
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.baselines.dictionary import SpanDictionary
from vertical_assets.training.baselines.overlap import most_similar_phrases

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

MIN_DOCUMENTS = 2  # an n-gram seen once can't help on other texts
RIDGE = 1.0  # scikit-learn's default penalty


def baseline_probabilities(train_set: Items, texts: list[str], spec: VerticalSpec) -> np.ndarray:
    """Probabilities, texts x labels, by the baseline of a classification or multi_label.

    Args:
        train_set: what it learns from.
        texts: to be predicted.
        spec: sections `task`, `language`.
    """
    by_kind = {"classification": tfidf_logistic_regression, "multi_label": tfidf_one_vs_rest}
    return by_kind[spec.task.kind](train_set.texts, train_set.labels, texts, spec)


def baseline_predictions(
    train_set: Items,
    texts: list[str],
    questions: list[str] | None,
    spec: VerticalSpec,
) -> tuple[list[Target], list[float | None]]:
    """What the baseline of spans, answers or numbers says about texts, and how surely.

    Args:
        train_set: what it learns from.
        texts: to be predicted.
        questions: of each text, in question_answering.
        spec: sections `task`, `language`.
    """
    kind = spec.task.kind
    if kind == "regression":
        numbers = tfidf_ridge(train_set.texts, train_set.labels, texts, spec)
        return list(numbers), [None] * len(texts)
    if kind == "entities":
        spans = SpanDictionary.learnt(train_set.texts, train_set.labels, spec)
        return [spans.find(text) for text in texts], [None] * len(texts)
    answers = most_similar_phrases(train_set, texts, questions or [], spec)
    return [answer for answer, _ in answers], [similarity for _, similarity in answers]


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
    vectorizer, model = fit_tfidf_classifier(train_texts, train_labels, spec)
    found = model.predict_proba(vectorizer.transform(texts))
    probabilities = np.zeros((len(texts), len(spec.labels)))
    columns = [spec.labels.index(label) for label in model.classes_]
    probabilities[:, columns] = found  # a label that training never saw keeps probability 0
    return probabilities


def tfidf_one_vs_rest(
    train_texts: list[str],
    train_labels: Sequence[Sequence[str]],
    texts: list[str],
    spec: VerticalSpec,
) -> np.ndarray:
    """Probabilities, texts x labels, each label by a logistic regression of its own, C = 10."""
    from sklearn.linear_model import LogisticRegression

    vectorizer = tfidf(spec)
    train, asked = vectorizer.fit_transform(train_texts), vectorizer.transform(texts)
    probabilities = np.zeros((len(texts), len(spec.labels)))
    for code, label in enumerate(spec.labels):
        has = np.array([label in each for each in train_labels])
        if has.all() or not has.any():  # nothing to tell apart
            probabilities[:, code] = float(has.any())
            continue
        model = LogisticRegression(C=10.0, max_iter=200).fit(train, has)
        probabilities[:, code] = model.predict_proba(asked)[:, 1]
    return probabilities


def tfidf_ridge(
    train_texts: list[str], values: Sequence[float], texts: list[str], spec: VerticalSpec
) -> list[float]:
    """Numbers by ridge regression on TF-IDF, kept within `task.range`."""
    from sklearn.linear_model import Ridge

    vectorizer = tfidf(spec)
    # Conjugate gradients: of the solvers for sparse matrices the one that draws nothing at random.
    model = Ridge(alpha=RIDGE, solver="sparse_cg")
    model.fit(vectorizer.fit_transform(train_texts), np.array(values))
    found: Any = model.predict(vectorizer.transform(texts))
    if spec.task.range is not None:
        low, high = spec.task.range
        found = np.clip(found, low, high)
    return [float(value) for value in found]
