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
from typing import Any

import numpy as np

from vertical_assets.labels.gold.lexical import (
    tfidf,
    tfidf_logistic_regression,
    tfidf_one_vs_rest,
)
from vertical_assets.labels.splits import Items
from vertical_assets.labels.targets import Target
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.baselines.dictionary import SpanDictionary
from vertical_assets.training.baselines.overlap import most_similar_phrases

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
