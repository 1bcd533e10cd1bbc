"""The baselines side by side, and gradient-boosted trees among them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vertical_assets.labels.splits import Items
from vertical_assets.labels.targets import COLUMN, Target, targets_of, to_cell
from vertical_assets.spec import TaskKind, VerticalSpec
from vertical_assets.store.contracts import LABELED
from vertical_assets.training.baselines.boosting import tfidf_xgboost
from vertical_assets.training.baselines.names import BASELINES, XGBOOST
from vertical_assets.training.baselines.tables import baselines_table
from vertical_assets.training.predictions import probabilities_of
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.labels.test_kinds import spec_of
from vertical_assets_tests.training.baselines.test_baseline import LABEL_SETS, SET_TEXTS, WORDS

NUMBERS: list[Target] = [1.0, 5.0] * 24
NUMBER_TEXTS = [f"{'bad' if n % 2 == 0 else 'good'} {n % 3}" for n in range(48)]
CLASSES: list[Target] = [each[0] if each else "service" for each in LABEL_SETS if len(each) < 2]
CLASS_TEXTS = [t for t, each in zip(SET_TEXTS, LABEL_SETS, strict=True) if len(each) < 2]


def held(kind: TaskKind, texts: list[str], targets: list[Target]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "item_id": str(number),
                "text": text,
                "task": "t",
                COLUMN[kind]: to_cell(target, kind),
                "confidence": 1.0,
                "n_annotators": 3,
                "method": "majority",
                "split": "test",
                "cluster_id": str(number),
            }
            for number, (text, target) in enumerate(zip(texts, targets, strict=True))
        ],
        LABELED,
    )


def spec_with(kind: TaskKind, **evaluate: Any) -> VerticalSpec:
    if kind == "classification":
        task = {"name": "t", "labels": {label: label for label in WORDS}}
        return VerticalSpec(**tiny(language="en", task=task, evaluate=evaluate))
    return spec_of(kind, evaluate=evaluate)


@pytest.mark.parametrize(
    ("kind", "texts", "targets"),
    [
        ("classification", CLASS_TEXTS, CLASSES),
        ("multi_label", SET_TEXTS, LABEL_SETS),
        ("regression", NUMBER_TEXTS, NUMBERS),
    ],
)
def test_both_baselines_learn_what_words_say(
    kind: TaskKind, texts: list[str], targets: list[Target]
) -> None:
    spec = spec_with(kind)
    table = baselines_table(Items(texts, targets, texts), held(kind, texts[:6], targets[:6]), spec)
    assert table["model"].to_pylist() == [BASELINES[kind]] * 6 + [XGBOOST] * 6
    assert table["item_id"].to_pylist() == [str(n) for n in range(6)] * 2
    found = targets_of(table, kind, "predicted_")
    if kind == "regression":
        assert found == pytest.approx(targets[:6] * 2, abs=0.5)
        assert table["probabilities"].null_count == 12
    else:
        assert found == targets[:6] * 2
        known = probabilities_of(table, spec.labels)
        assert known is not None
        assert known.shape == (12, len(spec.labels))
        assert ((known >= 0) & (known <= 1)).all()


def test_trees_say_nothing_of_spans() -> None:
    spec = spec_with("entities")
    table = baselines_table(Items(["a b"], [()], ["x"]), held("entities", ["a b"], [()]), spec)
    assert table["model"].to_pylist() == ["dictionary"]


def test_trees_can_be_left_out() -> None:
    spec = spec_with("classification", xgboost=None)
    train = Items(CLASS_TEXTS, CLASSES, CLASS_TEXTS)
    table = baselines_table(train, held("classification", CLASS_TEXTS[:3], CLASSES[:3]), spec)
    assert set(table["model"].to_pylist()) == {BASELINES["classification"]}
    with pytest.raises(ValueError, match="xgboost is off"):
        tfidf_xgboost(train, CLASS_TEXTS, spec)


def test_trees_are_the_same_again_and_know_labels_that_training_lacks() -> None:
    spec = spec_with("classification", xgboost={"rounds": 3, "features": 2})
    few = Items(CLASS_TEXTS[:2] * 3, CLASSES[:2] * 3, ["x"] * 6)
    assert len(set(few.labels)) < len(spec.labels)
    first, again = (tfidf_xgboost(few, CLASS_TEXTS[:3], spec) for _ in range(2))
    assert (first == again).all()
    assert first.shape == (3, len(spec.labels))
    assert first.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-6)
