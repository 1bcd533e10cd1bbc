"""Made-up notes with their labels, predictions and a model of random weights, for every kind."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vertical_assets.labels.splits import held_out
from vertical_assets.labels.targets import COLUMN, Span, to_cell
from vertical_assets.spec import TaskKind, VerticalSpec
from vertical_assets.store.contracts import LABELED
from vertical_assets.training.predictions import predictions_of
from vertical_assets_tests.conftest import tiny

WORDS = ("aspirin", "insulin", "fever", "cough", "the", "of", "and", "one", "two", "three")
DRUGS = ("aspirin", "insulin")
LABELS = {
    "classification": {"few": "Few words.", "many": "Many words."},
    "multi_label": dict.fromkeys(DRUGS, "It is named."),
    "entities": {"drug": "A medicine.", "disease": "A complaint."},
}


def spec_of(kind: TaskKind, **changes: Any) -> VerticalSpec:
    """A vertical of made-up notes."""
    task: dict[str, Any] = {"name": "notes", "kind": kind, "labels": LABELS.get(kind, {})}
    return VerticalSpec.model_validate(
        tiny(**{"language": "en", "task": task, "annotation": {"path": "*.jsonl"}, **changes})
    )


def target_of(kind: TaskKind, words: list[str]) -> Any:
    """What can be read off a note."""
    starts = np.cumsum([0, *(len(word) + 1 for word in words)]).tolist()
    drugs = tuple(
        Span(start, start + len(word), "drug" if kind == "entities" else "answer")
        for start, word in zip(starts, words, strict=False)
        if word in DRUGS
    )
    return {
        "classification": "many" if len(words) > 9 else "few",
        "multi_label": tuple(drug for drug in DRUGS if drug in words),
        "entities": drugs,
        "question_answering": drugs[:1],
        "regression": float(len(words)),
    }[kind]


def labeled_set(kind: TaskKind, count: int = 120) -> pa.Table:
    """LABELED: every second item is for training, of the others every second for test."""
    rng = np.random.default_rng(3)
    rows = []
    for number in range(count):
        words = [WORDS[at] for at in rng.integers(len(WORDS), size=rng.integers(3, 16))]
        rows.append(
            {
                "item_id": f"n{number:03}",
                "text": " ".join(words),
                "task": "notes",
                COLUMN[kind]: to_cell(target_of(kind, words), kind),
                "question": "Which drug?" if kind == "question_answering" else None,
                "confidence": 1.0,
                "n_annotators": 3,
                "method": "majority",
                "split": ("train", "validation", "train", "test")[number % 4],
                "cluster_id": f"n{number:03}",
            }
        )
    return pa.Table.from_pylist(rows, LABELED)


def predictions_with_errors(labeled: pa.Table, kind: TaskKind) -> pa.Table:
    """PREDICTIONS of a model that reads only the first eight words."""
    held = held_out(labeled)
    said = [target_of(kind, text.split()[:8]) for text in held["text"].to_pylist()]
    sure = [None if kind == "regression" else 0.95] * len(held)
    return predictions_of(held, kind, said, sure)


def checkpoint_of(spec: VerticalSpec, folder: Path) -> Path:
    """A model of random weights: transformers' own classifier, or a VerticalModel."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from vertical_assets.training.modules.model import on_base
    from vertical_assets_tests.training.encoders import write_encoder

    base = write_encoder("bert", [" ".join(WORDS)], folder / "base", layers=2)
    model: Any
    if spec.model.is_plain(spec.task.kind):
        model = AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=len(spec.labels)
        )
    else:
        model = on_base(base, spec, {})
    model.save_pretrained(folder / "checkpoint")
    AutoTokenizer.from_pretrained(base).save_pretrained(folder / "checkpoint")
    return folder / "checkpoint"
