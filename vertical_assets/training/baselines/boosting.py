"""The second baseline of labels and numbers: gradient-boosted trees on TF-IDF (SPEC E4).

XGBoost (Chen and Guestrin 2016, "XGBoost: A Scalable Tree Boosting System") by histograms. Its cost
is trees x nodes x features: a round makes a tree for every label, so that of many labels rounds are
dear, and rare n-grams, which a tree hardly splits at, are left to the linear baseline.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vertical_assets.labels.gold.lexical import tfidf
from vertical_assets.labels.splits import Items
from vertical_assets.spec import VerticalSpec

KINDS = ("classification", "multi_label", "regression")
BINS = 16  # of a feature's values; with 256 no better, and slower


def tfidf_xgboost(train_set: Items, texts: Sequence[str], spec: VerticalSpec) -> np.ndarray:
    """Probabilities, texts x labels; of a regression numbers, kept within `task.range`.

    Args:
        train_set: what it learns from.
        texts: to be predicted.
        spec: `evaluate.xgboost`, sections `task`, `language`, `seed`.
    """
    import xgboost

    settings, kind = spec.evaluate.xgboost, spec.task.kind
    if settings is None or kind not in KINDS:
        raise ValueError(f"evaluate.xgboost is off, or serves none of {kind}; {', '.join(KINDS)}")
    vectorizer = tfidf(spec).set_params(max_features=settings.features)
    features = vectorizer.fit_transform(train_set.texts)
    wanted, objective = _task(train_set.labels, spec)
    model = xgboost.train(
        {
            **objective,
            "tree_method": "hist",
            "max_bin": BINS,
            "max_depth": settings.depth,
            "eta": settings.learning_rate,
            "seed": spec.seed % 2**31,
            "verbosity": 1,
        },
        xgboost.QuantileDMatrix(features, wanted, max_bin=BINS),
        settings.rounds,
    )
    found: np.ndarray = model.predict(xgboost.DMatrix(vectorizer.transform(texts)))
    if kind == "regression" and spec.task.range is not None:
        low, high = spec.task.range
        found = np.clip(found, low, high)
    return found.astype(np.float64)


def _task(targets: Sequence[Any], spec: VerticalSpec) -> tuple[np.ndarray, dict[str, Any]]:
    """What is learnt, and by which loss."""
    if spec.task.kind == "regression":
        return np.array(targets, float), {"objective": "reg:squarederror"}
    if spec.task.kind == "multi_label":
        has = [[label in each for label in spec.labels] for each in targets]
        # From one half: a label that training never saw has no other prior.
        return np.array(has, float), {"objective": "binary:logistic", "base_score": 0.5}
    code = {label: number for number, label in enumerate(spec.labels)}
    return (
        np.array([code[target] for target in targets]),
        {"objective": "multi:softprob", "num_class": len(spec.labels)},
    )
