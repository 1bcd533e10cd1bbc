"""Confident learning: which labels are probably wrong, by cleanlab.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels":
how many labels are wrong is estimated from the joint distribution of given and confidently
predicted ones; so many items with the least probability of their own label are suspected. The model
has not learnt these items, as the method asks for.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vertical_assets.spec import TaskKind


@dataclass(frozen=True)
class Suspicion:
    """What is thought of each given label.

    Attributes:
        quality: 0 to 1, the model's probability that it is right.
        suspected: whether it is thought to be wrong.
    """

    quality: np.ndarray
    suspected: np.ndarray


def suspicion_of(
    given: Sequence[Any], probabilities: np.ndarray, labels: Sequence[str], kind: TaskKind
) -> Suspicion:
    """What confident learning thinks of labels.

    Args:
        given: a label, or labels, per item.
        probabilities: items x labels, of a model that has not learnt these items.
        labels: the class system.
        kind: classification or multi_label.
    """
    index = {label: code for code, label in enumerate(labels)}
    shares = np.clip(probabilities.astype(np.float64), 0.0, 1.0)
    none = Suspicion(np.ones(len(given)), np.zeros(len(given), bool))
    with warnings.catch_warnings():
        # cleanlab's own, of classes with few items.
        warnings.simplefilter("ignore", UserWarning)
        if kind == "multi_label":
            return _of_several([[index[label] for label in each] for each in given], shares, none)
        return _of_one(np.array([index[label] for label in given], int), shares, none)


def _of_one(codes: np.ndarray, shares: np.ndarray, none: Suspicion) -> Suspicion:
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    if len(set(codes)) < 2:  # nothing that a label could be mistaken for
        return none
    shares = shares / shares.sum(axis=1, keepdims=True)
    # Of cleanlab's filters the one that finds most planted errors; 98 % of 3 % among diagnoses.
    found = find_label_issues(codes, shares, filter_by="low_self_confidence", n_jobs=1)
    return Suspicion(
        get_label_quality_scores(codes, shares, method="self_confidence"),
        found & (shares.argmax(axis=1) != codes),
    )


def _of_several(codes: list[list[int]], shares: np.ndarray, none: Suspicion) -> Suspicion:
    from cleanlab.multilabel_classification.filter import find_label_issues
    from cleanlab.multilabel_classification.rank import get_label_quality_scores

    if not any(codes):
        return none
    return Suspicion(
        get_label_quality_scores(codes, shares, method="self_confidence"),
        find_label_issues(codes, shares, filter_by="prune_by_noise_rate", n_jobs=1),
    )
