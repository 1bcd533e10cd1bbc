"""Warm start: when only labels came, training goes on from the last checkpoint's weights, on what
is new and on a sample of what it knew, so that this is not forgotten (SPEC T12, C5).

Rehearsal of old items against forgetting: Robins 1995, "Catastrophic forgetting, rehearsal and
pseudorehearsal".
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from upath import UPath

from vertical_assets.labels.splits import Items
from vertical_assets.labels.targets import to_cell
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.versions import MANIFEST, current, local_directory
from vertical_assets.training.loop.schedules import initial_rate

# Items that a new checkpoint and the last one are compared on; where they answer every twentieth
# differently, the standard error of the difference is 0.007 (root of 0.05 / 1000).
COMPARED = 1000
LEARNT = "learnt.parquet"  # of a checkpoint: the items that it was trained and validated on
TRAIN, VALIDATION = "train", "validation"
SCHEMA = pa.schema(
    [
        pa.field("item", pa.string(), metadata={"description": "Item, and question if any"}),
        pa.field("split", pa.string(), metadata={"description": "train | validation"}),
        pa.field("text", pa.string(), metadata={"description": "Digest of its text"}),
        pa.field("target", pa.string(), metadata={"description": "Digest of its target"}),
    ]
)


@dataclass(frozen=True)
class Start:
    """How a training begins.

    Attributes:
        base: directory that the weights come from: the adapted base model, or the last checkpoint.
        items: what is learnt from.
        whole: targets of all items of the training split, by whose frequency classes are weighted.
        spec: the vertical's, with the settings of this training.
        facts: for manifest and page: `start` (warm | cold), why, the parent, and counts.
        parent: directory of the last checkpoint, where the start is warm.
    """

    base: Path
    items: Items
    whole: list[Any]
    spec: VerticalSpec
    facts: dict[str, Any]
    parent: Path | None = None


@dataclass(frozen=True)
class Kept:
    """Scores of the last checkpoint and of the new one on the validation items of the last."""

    score: str
    items: int
    before: float
    after: float
    less_is_better: bool

    @property
    def drop(self) -> float:
        """How much worse it became; of an error, as share of what it was."""
        if self.less_is_better:
            return (self.after - self.before) / self.before if self.before else self.after
        return self.before - self.after


def write_learnt(
    checkpoint: Path, train_set: Items, validation_set: Items, spec: VerticalSpec
) -> None:
    """Leaves in a checkpoint what it learnt, as digests, for the next training."""
    parts = [
        described(items, split, spec)
        for items, split in ((train_set, TRAIN), (validation_set, VALIDATION))
    ]
    pq.write_table(pa.concat_tables(parts), checkpoint / LEARNT)


def described(items: Items, split: str, spec: VerticalSpec) -> pa.Table:
    """SCHEMA of items."""
    targets = (json.dumps(to_cell(each, spec.task.kind), default=str) for each in items.labels)
    columns = [
        names_of(items),
        [split] * len(items.texts),
        [xxhash.xxh3_64_hexdigest(text.encode()) for text in items.texts],
        [xxhash.xxh3_64_hexdigest(target.encode()) for target in targets],
    ]
    return pa.table(columns, schema=SCHEMA)


def names_of(items: Items) -> list[str]:
    """What names each item: its id; with its question, where a text has several."""
    if items.questions is None:
        return list(items.item_ids)
    return [
        f"{item}\0{question}"
        for item, question in zip(items.item_ids, items.questions, strict=True)
    ]


def of_warm_start(spec: VerticalSpec, parent: Path) -> dict[str, str]:
    """What a killed warm start may only be resumed with, beside its inputs: the parent, and how it
    goes on from it, which is in no code version.
    """
    return {"parent": parent.name, "warm_start": spec.digest(["finetune.warm_start"])}


def start_of(
    base: Path, train_set: Items, spec: VerticalSpec, parent: Path | None, why: str = ""
) -> Start:
    """Cold from the base model where there is no parent; else warm from the parent, by
    `finetune.warm_start`, on new items and a seeded sample of known ones.

    Args:
        base: directory of the adapted base model.
        train_set: all items of the training split.
        spec: the vertical's.
        parent: the last checkpoint, see `parent_of`.
        why: the reason, in words.
    """
    settings = spec.finetune.warm_start
    if parent is None or settings is None:
        return Start(base, train_set, train_set.labels, spec, {"start": "cold", "start_why": why})
    learnt = _learnt(parent, TRAIN)
    given = described(train_set, TRAIN, spec)
    names, targets = given["item"].to_pylist(), given["target"].to_pylist()
    pairs = zip(names, targets, strict=True)
    is_new = np.array([learnt.get(name, ("", ""))[1] != target for name, target in pairs], bool)
    known = np.flatnonzero(~is_new)
    # By the parent's version: the next training replays others.
    rng = np.random.default_rng([spec.seed, xxhash.xxh3_64_intdigest(parent.name.encode())])
    share = settings.replay or float(not is_new.any())  # something is learnt in any case
    replayed = rng.permutation(known)[: math.ceil(share * len(known))]
    chosen = np.sort(np.concatenate([np.flatnonzero(is_new), replayed]))
    rate = initial_rate(spec.finetune.learning_rate, len(names), _layers(parent)).value
    changed = {
        "epochs": settings.epochs,
        "learning_rate": rate * settings.learning_rate_factor,
    }
    return Start(
        parent,
        rows_of(train_set, chosen),
        train_set.labels,
        spec.model_copy(update={"finetune": spec.finetune.model_copy(update=changed)}),
        {
            "start": "warm",
            "start_why": why,
            "parent": parent.name,
            "new_items": int(is_new.sum()),
            "relabelled_items": sum(name in learnt for name in np.array(names, object)[is_new]),
            "known_items": len(known),
            "replayed_items": len(replayed),
        },
        parent,
    )


def parent_of(
    entry: UPath,
    code_version: str,
    inputs: Mapping[str, str],
    train_set: Items,
    spec: VerticalSpec,
    *,
    cold: bool = False,
) -> tuple[Path | None, str]:
    """The checkpoint that training goes on from, or None and the reason for a cold start.

    Only labels may have come: base model, features, code and configuration are those of the
    checkpoint, and all that it learnt still stands, so that nothing forgotten or withdrawn lives on
    in the weights. A checkpoint of the very same inputs is made again as it was made.

    Args:
        entry: folder of `finetuned_ckpt` in the store.
        code_version: of the asset, which holds the digest of the configuration.
        inputs: name -> version, of this training.
        train_set: all items of the training split.
        spec: the vertical's.
        cold: whether a cold start is asked for.
    """
    if spec.finetune.warm_start is None:
        return None, "finetune.warm_start is not set"
    if cold:
        return None, "a cold start was asked for"
    try:
        last = local_directory(current(entry))
    except FileNotFoundError:
        return None, "there is no checkpoint yet"
    manifest = json.loads((last / MANIFEST).read_text())
    if manifest.get("code_version") != code_version:
        return None, "code or configuration is not that of the last checkpoint"
    if manifest["inputs"] == dict(inputs):
        again = entry / manifest["parent"] if "parent" in manifest else None
        if again is None or not again.exists():
            return None, "the last checkpoint has the same inputs, and its start is gone or cold"
        last = local_directory(again)
        manifest = json.loads((last / MANIFEST).read_text())
    if not manifest["learns"]:
        return None, "the last checkpoint is no better than one answer to everything"
    labels = ("labeled_set", "augmented_set")
    before = {name: version for name, version in manifest["inputs"].items() if name not in labels}
    now = {name: version for name, version in inputs.items() if name not in labels}
    if before != now:
        changed = sorted(n for n in before.keys() | now.keys() if before.get(n) != now.get(n))
        return None, f"{', '.join(changed)} changed since the last checkpoint"
    texts = dict(zip(names_of(train_set), _digests(train_set.texts), strict=True))
    gone = [name for name, (text, _) in _learnt(last, TRAIN).items() if texts.get(name) != text]
    if gone:
        return None, f"{len(gone)} items that the last checkpoint learnt are gone or changed"
    return last, "only labels came since the last checkpoint"


def kept_of(start: Start, checkpoint: Path, validation_set: Items, spec: VerticalSpec) -> Kept:
    """What the new checkpoint still knows: validation items of its parent, by today's labels; at
    most COMPARED of them, the same ones from training to training.

    Args:
        start: a warm one.
        checkpoint: directory of the new model.
        validation_set: all items of the validation split.
        spec: the vertical's.
    """
    from vertical_assets.training.answering import predict
    from vertical_assets.training.modules.scores import MONITOR, scores

    if start.parent is None:
        raise ValueError("a cold start has no parent to compare with")
    learnt = _learnt(start.parent, VALIDATION)
    names = [name for name in names_of(validation_set) if name in learnt]
    drawn = set(sorted(names, key=lambda name: xxhash.xxh3_64_intdigest(name.encode()))[:COMPARED])
    rows = [row for row, name in enumerate(names_of(validation_set)) if name in drawn]
    known = rows_of(validation_set, np.array(rows, int))
    name, mode = MONITOR[spec.task.kind]
    found = [
        scores(
            spec.task.kind,
            known.labels,
            predict(each, known.texts, spec, known.questions),
            spec.labels,
        )[name]
        if rows
        else 0.0
        for each in (start.parent, checkpoint)
    ]
    return Kept(name.removeprefix("val_"), len(rows), found[0], found[1], mode == "min")


def rows_of(items: Items, rows: np.ndarray) -> Items:
    """Some of the items, in the order of `rows`."""

    def some(values: list[Any]) -> list[Any]:
        return [values[row] for row in rows]

    return Items(
        some(items.texts),
        some(items.labels),
        some(items.groups),
        None if items.questions is None else some(items.questions),
        some(items.item_ids),
    )


def _digests(texts: list[str]) -> list[str]:
    return [xxhash.xxh3_64_hexdigest(text.encode()) for text in texts]


def _learnt(checkpoint: Path, split: str) -> dict[str, tuple[str, str]]:
    """Item -> digests of its text and its target, of one split of what a checkpoint learnt."""
    table = pq.read_table(checkpoint / LEARNT, filters=[("split", "=", split)])
    return dict(
        zip(
            table["item"].to_pylist(),
            zip(table["text"].to_pylist(), table["target"].to_pylist(), strict=True),
            strict=True,
        )
    )


def _layers(checkpoint: Path) -> int:
    """Layers of a checkpoint's encoder."""
    config = json.loads((checkpoint / "config.json").read_text())
    return int((config.get("encoder_config") or config)["num_hidden_layers"])
