"""The analysis of a model's errors from beginning to end: slices, errors, what to label again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vertical_assets.corpus.cleaning.terms import Terms
from vertical_assets.evaluation.errors.neighbours import nearest
from vertical_assets.evaluation.errors.outliers import Outliers, outliers_of
from vertical_assets.evaluation.errors.relabel import (
    CONFIDENT_ERROR,
    FAR_OFF,
    LABEL_ERROR,
    OUTLIER,
    Finding,
    keys_of,
    relabel_queue,
    unusual,
)
from vertical_assets.evaluation.errors.slices import slices_of
from vertical_assets.evaluation.errors.wrong import errors_table, sizes_of, wrong_rows
from vertical_assets.evaluation.pages import shown_target
from vertical_assets.labels.gold.confident_learning import Suspicion, suspicion_of
from vertical_assets.labels.splits import TRAIN
from vertical_assets.labels.targets import targets_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.answering import label_probabilities
from vertical_assets.training.embeddings import embeddings
from vertical_assets.training.predictions import embeddings_in, probabilities_of


class AnalysisError(Exception):
    """Two inputs don't belong together; the message says what to do."""


@dataclass(frozen=True)
class Analysis:
    """What was found.

    Attributes:
        slices: SLICES.
        errors: ERRORS.
        queue: RELABEL_QUEUE.
        facts: figures for the asset's page.
    """

    slices: pa.Table
    errors: pa.Table
    queue: pa.Table
    facts: dict[str, int]


@dataclass(frozen=True)
class _Texts:
    """Distinct items with their embeddings: a sample of the training set, then the held-out."""

    items: list[str]
    vectors: np.ndarray
    trained: int  # how many of them, from the first on, are training items

    @property
    def rows(self) -> dict[str, int]:
        return {item: row for row, item in enumerate(self.items)}


def analyse(
    checkpoint: Path,
    labeled: pa.Table,
    predictions: pa.Table,
    sources: Mapping[str, str],
    terms: Terms,
    spec: VerticalSpec,
) -> Analysis:
    """Looks at everything that was held out, and at a sample of what was learnt.

    Args:
        checkpoint: directory of `finetuned_ckpt`.
        labeled: LABELED.
        predictions: PREDICTIONS of its held-out items.
        sources: item_id -> source of its document.
        terms: of the domain; may be none.
        spec: sections `evaluate.slices`, `evaluate.errors`, `model`, `task`, `seed`, `sensitive`.

    Raises:
        AnalysisError: predictions are about items that `labeled` does not have.
    """
    ids = labeled["item_id"].to_pylist()
    text_of, group_of = (
        dict(zip(ids, labeled[name].to_pylist(), strict=True)) for name in ("text", "cluster_id")
    )
    asked = predictions["item_id"].to_pylist()
    gone = [item for item in asked if item not in text_of]
    if gone:
        raise AnalysisError(
            f"labeled_set lacks {len(gone)} of {len(asked)} items of predictions, e.g. {gone[0]}: "
            "materialize predictions again"
        )
    texts = [text_of[item] for item in asked]
    seen = _embedded(checkpoint, labeled, predictions, text_of, spec)
    wrong = wrong_rows(predictions, texts, spec)
    mistaken = predictions.filter(pa.array(wrong))
    odd = outliers_of(seen.vectors, spec.evaluate.errors.outliers)
    doubt = _doubt(checkpoint, predictions, texts, spec)
    findings = [
        *_of_labels(predictions, doubt),
        *_of_errors(predictions, wrong, spec),
        *_of_outliers(labeled, seen, odd),
    ]
    return Analysis(
        slices_of(predictions, text_of, sources, group_of, terms, spec),
        errors_table(
            mistaken,
            [text for text, is_wrong in zip(texts, wrong, strict=True) if is_wrong],
            sources,
            _neighbours(mistaken, labeled, seen, spec),
            spec,
        ),
        relabel_queue(findings, labeled, predictions, spec.task.kind),
        {
            "held_out_items": len(predictions),
            "errors": int(wrong.sum()),
            "suspected_label_errors": sum(each.reason == LABEL_ERROR for each in findings),
            "outliers": int(odd.marked.sum()),
            "train_items_compared": seen.trained,
            "train_items": labeled["split"].to_pylist().count(TRAIN),
        },
    )


def _embedded(
    checkpoint: Path,
    labeled: pa.Table,
    predictions: pa.Table,
    text_of: Mapping[str, str],
    spec: VerticalSpec,
) -> _Texts:
    columns = (labeled[name].to_pylist() for name in ("item_id", "split"))
    learnt = list(dict.fromkeys(i for i, split in zip(*columns, strict=True) if split == TRAIN))
    most = spec.evaluate.errors.train_items
    if len(learnt) > most:
        drawn = np.random.default_rng(spec.seed).choice(len(learnt), most, replace=False)
        learnt = [learnt[row] for row in sorted(drawn)]
    rows = {item: row for row, item in enumerate(predictions["item_id"].to_pylist())}
    items = [*learnt, *rows]
    known = embeddings_in(predictions)
    unknown = items if known is None else learnt
    vectors = embeddings(checkpoint, [text_of[item] for item in unknown], spec)
    if known is not None:
        vectors = np.concatenate([vectors, known[list(rows.values())]])
    return _Texts(items, vectors, len(learnt))


def _doubt(
    checkpoint: Path, predictions: pa.Table, texts: Sequence[str], spec: VerticalSpec
) -> Suspicion | None:
    """What confident learning thinks of the labels; None for kinds that it does not know."""
    kind = spec.task.kind
    if kind not in ("classification", "multi_label") or not texts:
        return None
    shares = probabilities_of(predictions, spec.labels)
    if shares is None:
        shares = label_probabilities(checkpoint, texts, spec)
    return suspicion_of(targets_of(predictions, kind), shares, spec.labels, kind)


def _of_labels(predictions: pa.Table, doubt: Suspicion | None) -> Iterator[Finding]:
    if doubt is not None:
        for key, quality, suspected in zip(
            keys_of(predictions), doubt.quality, doubt.suspected, strict=True
        ):
            if suspected:
                yield Finding(key, LABEL_ERROR, 1.0 - float(quality))


def _of_errors(predictions: pa.Table, wrong: np.ndarray, spec: VerticalSpec) -> Iterator[Finding]:
    sizes = sizes_of(predictions, spec)
    if spec.task.kind == "regression":
        reason, scores = FAR_OFF, unusual(sizes)
    else:
        sure = sizes >= spec.evaluate.errors.confidence
        reason, scores = CONFIDENT_ERROR, np.where(sure, sizes, 0.0)
    for key, is_wrong, score in zip(keys_of(predictions), wrong, scores, strict=True):
        if is_wrong and score > 0:
            yield Finding(key, reason, float(score))


def _of_outliers(labeled: pa.Table, seen: _Texts, odd: Outliers) -> Iterator[Finding]:
    rows = seen.rows
    for key in keys_of(labeled):
        row = rows.get(key[0])
        if row is not None and odd.marked[row]:
            yield Finding(key, OUTLIER, float(1.0 - odd.threshold / odd.scores[row]))


def _neighbours(
    mistaken: pa.Table, labeled: pa.Table, seen: _Texts, spec: VerticalSpec
) -> list[dict[str, Any]]:
    """The training item nearest to each error."""
    if not seen.trained:
        return [{} for _ in range(len(mistaken))]
    texts = labeled["text"].to_pylist()
    targets = targets_of(labeled, spec.task.kind)
    place = {item: row for row, item in enumerate(labeled["item_id"].to_pylist())}
    rows = seen.rows
    asked = seen.vectors[[rows[item] for item in mistaken["item_id"].to_pylist()]]
    found, cosines = nearest(asked, seen.vectors[: seen.trained])
    return [
        {
            "nearest_id": seen.items[row],
            "nearest_text": texts[place[seen.items[row]]],
            "nearest_label": shown_target(
                targets[place[seen.items[row]]], texts[place[seen.items[row]]]
            ),
            "similarity": float(cosine),
        }
        for row, cosine in zip(found, cosines, strict=True)
    ]
