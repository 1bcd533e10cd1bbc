"""Suspected label errors of the training items, before any model is trained (SPEC T12, D8).

Confident learning asks for probabilities by a model that has not learnt the item. There are five
parts; each is judged by TF-IDF with logistic regression on the other four. What belongs together
(a cluster, a group) is in one part. The held-out items' labels are judged by the vertical's own
model, see `evaluation.errors`.
"""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from vertical_assets.labels.gold.confident_learning import suspicion_of
from vertical_assets.labels.gold.lexical import logistic_regression, one_vs_rest, tfidf
from vertical_assets.labels.splits import TRAIN
from vertical_assets.labels.targets import COLUMN, targets_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.label_contracts import LABEL_ERRORS

FOLDS = 5
MOST_ITEMS = 20_000  # training items at most, drawn by hash: with more it would take minutes
KINDS = ("classification", "multi_label")


def label_errors(labeled: pa.Table, spec: VerticalSpec) -> pa.Table:
    """LABEL_ERRORS, the most doubtful first; a person's own decisions are never doubted.

    Args:
        labeled: LABELED of a classification or multi_label task.
        spec: sections `task`, `language`, `seed`.
    """
    train = sample(labeled.filter(pc.equal(labeled["split"], TRAIN)), spec)
    kind = spec.task.kind
    given, texts = targets_of(train, kind), train["text"].to_pylist()
    parts = np.array([_hash(group, spec) % FOLDS for group in train["cluster_id"].to_pylist()])
    shares = np.full((len(texts), len(spec.labels)), np.nan)
    # Of all texts together: how often a word occurs says nothing of the labels.
    several = len({str(each) for each in given}) > 1
    vectors = tfidf(spec).fit_transform(texts) if several else None
    for part in range(FOLDS):
        inside, others = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        known = [given[row] for row in others]
        if vectors is None or not len(inside) or len({str(each) for each in known}) < 2:
            continue
        model = logistic_regression if kind == "classification" else one_vs_rest
        shares[inside] = model(vectors[others], known, vectors[inside], spec)
    judged = np.flatnonzero(~np.isnan(shares).any(axis=1))
    doubt = suspicion_of([given[row] for row in judged], shares[judged], spec.labels, kind)
    rows = []
    for row, quality, suspected in zip(judged, doubt.quality, doubt.suspected, strict=True):
        if suspected and train["method"][row].as_py() != "adjudicated":
            rows.append(
                {
                    "item_id": train["item_id"][row].as_py(),
                    "text": texts[row],
                    "label": _shown(train[COLUMN[kind]][row].as_py()),
                    "proposed": _shown(_likeliest(shares[row], spec)),
                    "quality": float(quality),
                    "confidence": train["confidence"][row].as_py(),
                }
            )
    rows.sort(key=lambda each: (each["quality"], each["item_id"]))
    return pa.Table.from_pylist(rows, LABEL_ERRORS)


def sample(train: pa.Table, spec: VerticalSpec) -> pa.Table:
    """At most MOST_ITEMS rows, the same ones as long as they are there."""
    if train.num_rows <= MOST_ITEMS:
        return train
    hashes = np.array([_hash(item, spec) for item in train["item_id"].to_pylist()], np.uint64)
    return train.take(np.sort(np.argsort(hashes, kind="stable")[:MOST_ITEMS]))


def _hash(name: str, spec: VerticalSpec) -> int:
    return xxhash.xxh3_64_intdigest(f"doubt\0{spec.seed}\0{name}".encode())


def _likeliest(shares: np.ndarray, spec: VerticalSpec) -> str | list[str]:
    if spec.task.kind == "classification":
        return spec.labels[int(shares.argmax())]
    return [label for label, share in zip(spec.labels, shares, strict=True) if share >= 0.5]


def _shown(target: str | list[str]) -> str:
    return target if isinstance(target, str) else json.dumps(target, ensure_ascii=False)
