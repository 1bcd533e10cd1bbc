"""Ablation: the same training with and without a switch, on the vertical's own labels and corpus.

A switch is a function that derives the specs to compare from the vertical's; a new one is a new
entry of SWITCHES. Nothing of the vertical's own results is touched: everything is made in a
scratch folder, which may be removed afterwards.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from upath import UPath

from vertical_assets.evaluation.metrics import macro_f1
from vertical_assets.labels.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    groups_of,
    held_out,
    items_of,
    split_of,
)
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.features import THESAURI

# What a pretrained checkpoint is made from, besides the corpus: as `pretrained_ckpt` reads.
PRETRAINED = ("model", "pretrain", "split", "seed")

ABLATION = pa.schema(
    [
        pa.field("switch", pa.string(), nullable=False),
        pa.field("variant", pa.string(), nullable=False),
        pa.field("parameters", pa.int64(), nullable=False),
        pa.field("trained_parameters", pa.int64(), nullable=False),
        pa.field("train_items", pa.int64(), nullable=False),
        pa.field("validation_f1_macro", pa.float64(), nullable=False),
        pa.field("test_f1_macro", pa.float64(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),  # of all that this variant trained
    ]
)


@dataclass(frozen=True)
class Inputs:
    """What the vertical has: tables, its adapted base model, and its drop folder.

    Attributes:
        labeled: LABELED.
        corpus: `doc_id`, `text`, `meta`, `cluster_id` of DEDUP_DOCUMENTS.
        pretrained: the current `pretrained_ckpt`.
        data: folder that dictionaries are relative to.
    """

    labeled: pa.Table
    corpus: pa.Table
    pretrained: Path
    data: UPath


Variants = dict[str, VerticalSpec]


def changed(spec: VerticalSpec, changes: dict[str, Any]) -> VerticalSpec:
    """The spec with other values of some keys (`section.key`), validated anew.

    Raises:
        pydantic.ValidationError: the values don't fit together.
    """
    values = spec.model_dump()
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = values
        for key in parents:
            place = place[key]
        place[last] = value
    return VerticalSpec.model_validate(values)


def augmentation(spec: VerticalSpec, layers: int) -> Variants:
    """Without and with augmented rows: the vertical's own section, or every word-level method."""
    methods: dict[str, Any] = {"swap": {}, "delete": {}}
    if spec.language in THESAURI:
        methods["synonyms"] = {}
    own = spec.features.augment
    return {
        "off": changed(spec, {"features.augment": None}),
        "on": changed(spec, {"features.augment": own.model_dump() if own else methods}),
    }


def freezing(spec: VerticalSpec, layers: int) -> Variants:
    """All layers trained, and the first ones frozen: as the vertical says, or half of them."""
    frozen = spec.finetune.freeze_layers or max(1, layers // 2)
    return {
        "no layer frozen": changed(spec, {"finetune.freeze_layers": 0}),
        f"{frozen} of {layers} layers frozen": changed(spec, {"finetune.freeze_layers": frozen}),
    }


def layers(spec: VerticalSpec, layers: int) -> Variants:
    """All layers of the base, and fewer (M2): as the vertical says, or every second one."""
    if spec.model.layers:
        return {"all layers": changed(spec, {"model.layers": None}), f"{layers} layers": spec}
    half = tuple(range(0, layers, 2))
    fewer = {
        "model.layers": half,
        "pretrain.freeze_layers": spec.pretrain.freeze_layers // 2,
        "finetune.freeze_layers": spec.finetune.freeze_layers // 2,
    }
    return {f"{layers} layers": spec, f"{len(half)} layers": changed(spec, fewer)}


# Switch -> the specs to compare, from the vertical's spec and its model's number of layers.
SWITCHES: dict[str, Callable[[VerticalSpec, int], Variants]] = {
    "augmentation": augmentation,
    "freezing": freezing,
    "layers": layers,
}


def ablate(
    spec: VerticalSpec, switches: Sequence[str], inputs: Inputs, scratch: Path
) -> Iterator[dict[str, Any]]:
    """Rows of ABLATION, each as soon as it is known.

    A variant that two switches share is trained once. The adapted base model is the vertical's own
    where the variant changes nothing that it is made from.

    Args:
        spec: the vertical.
        switches: names in SWITCHES.
        inputs: what the vertical has.
        scratch: where everything is made.

    Raises:
        ValueError: the vertical's task is not classification.
    """
    if spec.task.kind != "classification":
        raise ValueError(
            f"ablations compare macro F1 of classifiers; the task of {spec.name!r} is of kind "
            f"{spec.task.kind!r}"
        )
    depth = int(json.loads((inputs.pretrained / "config.json").read_text())["num_hidden_layers"])
    pretrained = {spec.digest(PRETRAINED): inputs.pretrained}
    known: dict[str, dict[str, Any]] = {}
    for switch in switches:
        for name, variant in SWITCHES[switch](spec, depth).items():
            identity = variant.digest(list(type(variant).model_fields))
            if identity not in known:
                known[identity] = _trained(variant, inputs, pretrained, scratch / identity)
            yield {"switch": switch, "variant": name, **known[identity]}


def _trained(
    spec: VerticalSpec, inputs: Inputs, pretrained: dict[str, Path], scratch: Path
) -> dict[str, Any]:
    """Trains a variant and says how good it is on the held-out items."""
    from vertical_assets.training.classification import finetune, predict_probabilities
    from vertical_assets.training.predictions import predictions_table

    started = time.monotonic()
    base = pretrained.get(spec.digest(PRETRAINED))
    if base is None:
        base = pretrained[spec.digest(PRETRAINED)] = _pretrained(spec, inputs, scratch)
    labeled = _with_features(spec, inputs)
    train_set = items_of(labeled, TRAIN)
    result = finetune(base, train_set, items_of(labeled, VALIDATION), spec, scratch / "finetune")
    result.model.save_pretrained(scratch / "model")
    result.tokenizer.save_pretrained(scratch / "model")
    seconds = time.monotonic() - started
    held = held_out(inputs.labeled)
    probabilities = predict_probabilities(scratch / "model", held["text"].to_pylist(), spec)
    found = predictions_table(held, probabilities, spec.labels)
    for folder in ("finetune", "model"):
        shutil.rmtree(scratch / folder, ignore_errors=True)
    return {
        "parameters": result.facts["parameters"],
        "trained_parameters": result.facts["trained_parameters"],
        "train_items": len(train_set.texts),
        "validation_f1_macro": _score(found, VALIDATION, spec),
        "test_f1_macro": _score(found, TEST, spec),
        "seconds": seconds,
    }


def _pretrained(spec: VerticalSpec, inputs: Inputs, scratch: Path) -> Path:
    """The base model adapted to the corpus without the test split, as `pretrained_ckpt` does."""
    from vertical_assets.training.base_models import prepare_base
    from vertical_assets.training.pretraining import pretrain

    groups = groups_of(inputs.corpus, spec)
    texts = [
        text
        for text, group in zip(inputs.corpus["text"].to_pylist(), groups, strict=True)
        if split_of(group, spec) != TEST
    ]
    origin = prepare_base(spec, texts, scratch / "base")
    result = pretrain(origin.path, texts, spec, scratch / "pretrain")
    result.model.save_pretrained(scratch / "pretrained")
    result.tokenizer.save_pretrained(scratch / "pretrained")
    return scratch / "pretrained"


def _with_features(spec: VerticalSpec, inputs: Inputs) -> pa.Table:
    """The labelled set, with augmented rows where the variant has any."""
    settings = spec.features.augment
    if settings is None:
        return inputs.labeled
    from vertical_assets.features.augmentation import augment, with_augmented, words_of

    translate = None
    if (back := settings.back_translation) is not None:
        from vertical_assets.features.back_translation import back_translate

        def translate(texts: list[str]) -> Sequence[str | None]:
            return back_translate(texts, back)

    made = augment(inputs.labeled, spec, words_of(spec, inputs.data), translate)
    return with_augmented(inputs.labeled, made.rows)


def _score(found: pa.Table, split: str, spec: VerticalSpec) -> float:
    chosen = found.filter(pc.equal(found["split"], split))
    gold, predicted = chosen["label"].to_pylist(), chosen["predicted"].to_pylist()
    return macro_f1(gold, predicted, spec.labels)
