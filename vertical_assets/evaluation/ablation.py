"""Ablation: the same training with and without a switch, on the vertical's own labels and corpus.

A switch is a function that derives the specs to compare from the vertical's; a new one is a new
entry of SWITCHES. Nothing of the vertical's own results is touched: everything is made in a
scratch folder, which may be removed afterwards. What it costs can be bounded: all variants then
learn from the same share of the training items, for as many epochs.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from pydantic import ValidationError
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


def ablations_file(vertical: str) -> Path:
    """Where a vertical's last table is kept, for the page of `eval_report`."""
    return Path("data/ablations") / f"{vertical}.parquet"


def shown(file: Path) -> list[dict[str, Any]]:
    """The rows of a kept table with what each variant gains over the first of its switch; none
    where there is no table.
    """
    if not file.exists():
        return []
    rows, first = pq.read_table(file).to_pylist(), dict[str, float]()
    for row in rows:
        row["gain"] = row["test_f1_macro"] - first.setdefault(row["switch"], row["test_f1_macro"])
    return rows


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
        whole = {"model.layers": None, "model.distill": None}
        return {"all layers": changed(spec, whole), f"{layers} layers": spec}
    half = tuple(range(0, layers, 2))
    fewer = {
        "model.layers": half,
        "pretrain.freeze_layers": spec.pretrain.freeze_layers // 2,
        "finetune.freeze_layers": spec.finetune.freeze_layers // 2,
    }
    return {f"{layers} layers": spec, f"{len(half)} layers": changed(spec, fewer)}


def vocabulary(spec: VerticalSpec, layers: int) -> Variants:
    """All pieces of the base's tokenizer, and those that the corpus uses.

    Raises:
        NotApplicableError: the base is new, its tokenizer made of the corpus.
    """
    if spec.model.base == "scratch":
        raise NotApplicableError(
            f"{spec.name!r} has a tokenizer made of its corpus; there is nothing to prune"
        )
    pruned, whole = (changed(spec, {"model.prune_vocabulary": prunes}) for prunes in (True, False))
    return {
        "all pieces": whole if spec.model.pruning else spec,
        "pieces of the corpus": spec if spec.model.pruning else pruned,
    }


def keyword_attention(spec: VerticalSpec, layers: int) -> Variants:
    """Without and with attention to the domain's terms (M3).

    Raises:
        NotApplicableError: the vertical has no dictionary.
    """
    own = spec.model.keywords
    if own is None and not spec.clean.dictionaries:
        raise NotApplicableError(
            f"{spec.name!r} has no terms to attend to; list dictionaries under 'clean.dictionaries'"
        )
    return {
        "off": changed(spec, {"model.keyword_attention": False}),
        "on": changed(spec, {"model.keyword_attention": own.model_dump() if own else True}),
    }


def fusion(spec: VerticalSpec, layers: int) -> Variants:
    """The network's head alone, and fused with others (M7): as the vertical says, or with TF-IDF
    and word vectors by an attention gate.
    """
    plain = {"model.modules": None, "model.fusion": None, "model.cascade": None}
    fused: dict[str, Any] = {
        "features.tfidf": spec.features.tfidf or {},
        "features.word_vectors": spec.features.word_vectors or {},
        "model.modules": [{"type": name} for name in ("sequence", "tfidf", "word_vectors")],
        "model.fusion": "attention_gate",
        "model.cascade": None,
    }
    return {
        "off": changed(spec, plain),
        "on": changed(spec, {"model.cascade": None} if spec.model.fusion else fused),
    }


# Switch -> the specs to compare, from the vertical's spec and its model's number of layers.
SWITCHES: dict[str, Callable[[VerticalSpec, int], Variants]] = {
    "augmentation": augmentation,
    "keyword_attention": keyword_attention,
    "fusion": fusion,
    "freezing": freezing,
    "layers": layers,
    "vocabulary": vocabulary,
}


def applicable(spec: VerticalSpec) -> list[str]:
    """The switches that the vertical has anything to switch for."""
    found, spec = [], comparable(spec)
    for name in SWITCHES:
        with contextlib.suppress(NotApplicableError):
            variants_of(name, spec, len(spec.model.layers or ()) or 2)
            found.append(name)
    return found


def comparable(spec: VerticalSpec) -> VerticalSpec:
    """The vertical as its variants are trained: in this process, without a search before it."""
    return changed(spec, {"processes": {}, "search": None})


def variants_of(switch: str, spec: VerticalSpec, layers: int) -> Variants:
    """The specs that a switch compares.

    Raises:
        NotApplicableError: it has nothing to switch, or a variant is none that may be trained.
    """
    try:
        return SWITCHES[switch](spec, layers)
    except ValidationError as error:
        why = "; ".join(each["msg"] for each in error.errors())
        raise NotApplicableError(f"switch {switch!r} does not fit {spec.name!r}: {why}") from error


class NotApplicableError(ValueError):
    """A switch has nothing to switch in this vertical, or can't; the message says why."""


def ablate(
    spec: VerticalSpec,
    switches: Sequence[str],
    inputs: Inputs,
    scratch: Path,
    share: float = 1.0,
    epochs: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows of ABLATION, each as soon as it is known.

    A variant that two switches share is trained once. The adapted base model is the vertical's own
    where the variant changes nothing that it is made from; with a `share`, every variant's is made
    anew by that share of the pretraining, so that none had more of it.

    Args:
        spec: the vertical.
        switches: names in SWITCHES.
        inputs: what the vertical has.
        scratch: where everything is made.
        share: of the training items and of the epochs of pretraining, above 0; held-out items
            all stay.
        epochs: of fine-tuning, instead of the vertical's own.

    Raises:
        ValueError: the vertical's task is not classification, a switch has nothing to switch, or
            the share leaves no training item.
    """
    if spec.task.kind != "classification":
        raise ValueError(
            f"ablations compare macro F1 of classifiers; the task of {spec.name!r} is of kind "
            f"{spec.task.kind!r}"
        )
    depth = int(json.loads((inputs.pretrained / "config.json").read_text())["num_hidden_layers"])
    pretrained = {_base_of(spec): inputs.pretrained}
    spec = comparable(spec)
    if epochs is not None:
        spec = changed(spec, {"finetune.epochs": epochs})
    if share < 1:
        spec = changed(spec, {"pretrain.epochs": spec.pretrain.epochs * share})
        inputs = replace(inputs, labeled=sample(inputs.labeled, share, spec.seed))
    variants = {switch: variants_of(switch, spec, depth) for switch in switches}
    known: dict[str, dict[str, Any]] = {}
    for switch, specs in variants.items():
        for name, variant in specs.items():
            identity = variant.digest(list(type(variant).model_fields))
            if identity not in known:
                known[identity] = _trained(variant, inputs, pretrained, scratch / identity)
            yield {"switch": switch, "variant": name, **known[identity]}


def sample(labeled: pa.Table, share: float, seed: int) -> pa.Table:
    """LABELED with a share of its training items, chosen by a hash of their ids; a smaller share
    is part of a larger one.

    Raises:
        ValueError: no training item is left.
    """
    ids = labeled["item_id"].to_pylist()
    hashes = (xxhash.xxh3_64_intdigest(each.encode(), seed) for each in ids)
    among = pa.array([value / 2**64 < share for value in hashes], pa.bool_())
    trained = pc.equal(labeled["split"], TRAIN)
    kept = labeled.filter(pc.or_(pc.invert(trained), among))
    if not pc.any(pc.equal(kept["split"], TRAIN)).as_py():
        raise ValueError(f"a share of {share:g} leaves no training item; raise it")
    return kept


def _base_of(spec: VerticalSpec) -> str:
    """Digest of what a pretrained checkpoint is made from, as `pretrained_ckpt` reads it."""
    return spec.digest([*spec.model.base_sections, "pretrain", "split", "seed"])


def _trained(
    spec: VerticalSpec, inputs: Inputs, pretrained: dict[str, Path], scratch: Path
) -> dict[str, Any]:
    """Trains a variant and says how good it is on the held-out items."""
    from vertical_assets.training.answering import label_probabilities
    from vertical_assets.training.finetuning import finetune
    from vertical_assets.training.predictions import predictions_table

    started = time.monotonic()
    base = pretrained.get(_base_of(spec))
    if base is None:
        base = pretrained[_base_of(spec)] = _pretrained(spec, inputs, scratch)
    labeled, sources = _with_augmented(spec, inputs), _sources(spec, inputs)
    train_set, held_set = items_of(labeled, TRAIN), items_of(labeled, VALIDATION)
    work = scratch / "finetune"
    result = finetune(base, train_set, held_set, spec, work, sources=sources)
    result.model.save_pretrained(scratch / "model")
    result.tokenizer.save_pretrained(scratch / "model")
    seconds = time.monotonic() - started
    held = held_out(inputs.labeled)
    texts = held["text"].to_pylist()
    probabilities = label_probabilities(scratch / "model", texts, spec, sources)
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
    from vertical_assets.training.adaptation.base_models import prepare_base
    from vertical_assets.training.pretraining import pretrain

    texts = _learnt(spec, inputs)
    origin = prepare_base(spec, texts, scratch / "base")
    base = origin.path
    if spec.model.distill and origin.teacher:
        from vertical_assets.training.adaptation.distillation import distill

        base = distill(origin.teacher, base, texts, spec, scratch / "distillation").path
    result = pretrain(base, texts, spec, scratch / "pretrain")
    result.model.save_pretrained(scratch / "pretrained")
    result.tokenizer.save_pretrained(scratch / "pretrained")
    return scratch / "pretrained"


def _learnt(spec: VerticalSpec, inputs: Inputs) -> list[str]:
    """Texts of the corpus that are not in the test split."""
    groups = groups_of(inputs.corpus, spec)
    texts = inputs.corpus["text"].to_pylist()
    return [t for t, group in zip(texts, groups, strict=True) if split_of(group, spec) != TEST]


def _sources(spec: VerticalSpec, inputs: Inputs) -> dict[str, Any]:
    """The features that the variant's modules read, fitted as the assets do."""
    from vertical_assets.features.stop_words import stop_words
    from vertical_assets.features.tfidf import Tfidf
    from vertical_assets.features.word_vectors import WordVectors
    from vertical_assets.features.words import Cutter, content_words

    reads = {module.type for module in spec.model.modules_of(spec.task.kind)}
    cutter = Cutter.of(spec, inputs.data)
    words = cutter.cut(_learnt(spec, inputs)) if reads & {"tfidf", "word_vectors"} else []
    found: dict[str, Any] = {}
    if (weights := spec.features.tfidf) and "tfidf" in reads:
        left_out = stop_words(weights.stop_words)
        corpus = [content_words(each, left_out) for each in words]
        found["tfidf"] = Tfidf.fit(corpus, weights, cutter)
    if (embeddings := spec.features.word_vectors) and "word_vectors" in reads:
        plain = [content_words(each) for each in words]
        found["word_vectors"] = WordVectors.fit(plain, embeddings, cutter, spec.seed)
    return found


def _with_augmented(spec: VerticalSpec, inputs: Inputs) -> pa.Table:
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
