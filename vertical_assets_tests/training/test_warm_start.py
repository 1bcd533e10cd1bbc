"""Warm start: new labels are learnt from the last checkpoint on, cheaply, and old ones are kept."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from upath import UPath

from vertical_assets.labels.splits import Items
from vertical_assets.labels.targets import Span
from vertical_assets.spec import VerticalSpec, WarmStart
from vertical_assets.store.versions import commit, stage_directory
from vertical_assets.training import warm_start
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets.training.answering import predict
from vertical_assets.training.finetuning import finetune
from vertical_assets.training.loop.checkpoints import write_checkpoint
from vertical_assets.training.modules.assets import finetuned_asset
from vertical_assets.training.warm_start import (
    LEARNT,
    Start,
    kept_of,
    of_warm_start,
    parent_of,
    rows_of,
    start_of,
    write_learnt,
)
from vertical_assets_tests.conftest import tiny

OLD: dict[str, tuple[str, ...]] = {"drug": ("aspirin", "insulin"), "disease": ("fever", "cough")}
NEW: dict[str, tuple[str, ...]] = {"drug": ("statin", "heparin"), "disease": ("asthma", "angina")}
INPUTS = {"pretrained_ckpt": "base", "labeled_set": "first"}


def spec_of(kind: str, **finetuning: Any) -> VerticalSpec:
    size = {"layers": [0, 1], "hidden_size": 32, "vocabulary": 120, "max_tokens": 20}
    return VerticalSpec(
        **tiny(
            language="en",
            task={"name": "notes", "kind": kind, "labels": dict.fromkeys(OLD, "")},
            annotation={"path": "labels.jsonl"},
            model={"base": "scratch", **size},
            finetune={
                "epochs": 16,
                "batch_tokens": 256,
                "learning_rate": 0.005,
                "label_smoothing": 0.0,
                "cold_start": "linear",
                "checkpoint_steps": 1000,
                "warm_start": {"epochs": 4, "replay": 0.5, "learning_rate_factor": 0.5},
                **finetuning,
            },
        )
    )


def items(
    kind: str, count: int, seed: int, names: dict[str, tuple[str, ...]], prefix: str
) -> Items:
    """Made-up notes that name one thing each; the thing's kind is the class, or a span's type."""
    rng = np.random.default_rng(seed)
    texts, targets = [], []
    for _ in range(count):
        label = ("drug", "disease")[rng.integers(2)]
        word = names[label][rng.integers(2)]
        words = [("the", "of", "and", "one")[at] for at in rng.integers(0, 4, rng.integers(4, 9))]
        place = int(rng.integers(0, len(words)))
        text = " ".join([*words[:place], word, *words[place:]])
        start = len(" ".join(words[:place])) + (place > 0)
        texts.append(text)
        targets.append(
            label if kind == "classification" else (Span(start, start + len(word), label),)
        )
    ids = [f"{prefix}{number}" for number in range(count)]
    return Items(texts, targets, ids, None, ids)


def both(first: Items, second: Items) -> Items:
    return Items(
        first.texts + second.texts,
        first.labels + second.labels,
        first.groups + second.groups,
        None,
        first.item_ids + second.item_ids,
    )


def trained(start: Start, held: Items, folder: Path, train_set: Items) -> tuple[Path, Any]:
    """A checkpoint folder, and what the training said."""
    result = finetune(start.base, start.items, held, start.spec, folder / "work", whole=start.whole)
    checkpoint = folder / "checkpoint"
    manifest = {"inputs": INPUTS, "code_version": "code", "learns": True, **start.facts}
    write_checkpoint(checkpoint, result.model, result.tokenizer, manifest, result.log)
    write_learnt(checkpoint, train_set, held, start.spec)
    return checkpoint, result


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [text for names in (OLD, NEW) for text in items("regression", 100, 0, names, "").texts]
    return prepare_base(spec_of("classification"), texts, tmp_path_factory.mktemp("base")).path


@pytest.mark.parametrize("kind", ["classification", "entities"])  # transformers' head, and our own
def test_new_labels_are_learnt_faster_and_old_ones_kept(
    kind: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(kind)
    old, old_held = items(kind, 160, 1, OLD, "o"), items(kind, 40, 2, OLD, "h")
    new, new_held = items(kind, 40, 3, NEW, "n"), items(kind, 20, 4, NEW, "g")
    cold = start_of(base, old, spec, None)
    parent, first = trained(cold, old_held, tmp_path / "cold", old)

    warm = start_of(base, both(old, new), spec, parent, "only labels came")
    assert warm.facts == {
        "start": "warm",
        "start_why": "only labels came",
        "parent": "checkpoint",
        "new_items": 40,
        "relabelled_items": 0,
        "known_items": 160,
        "replayed_items": 80,
    }
    held = both(old_held, new_held)
    checkpoint, second = trained(warm, held, tmp_path / "warm", both(old, new))
    assert second.facts["steps"] <= first.facts["steps"] / 4

    def right(model: Path) -> int:
        answers = predict(model, new_held.texts, spec)
        return sum(a.target == gold for a, gold in zip(answers, new_held.labels, strict=True))

    assert right(parent) <= 14  # of 20, with words that it never saw
    assert right(checkpoint) >= 18
    kept = kept_of(warm, checkpoint, held, spec)
    assert kept.items == 40
    assert kept.before > 0.9
    assert kept.drop <= 0.05
    monkeypatch.setattr(warm_start, "COMPARED", 10)
    assert kept_of(warm, checkpoint, held, spec).items == 10


def test_the_same_parent_and_items_give_the_same_weights(base: Path, tmp_path: Path) -> None:
    spec = spec_of("classification", epochs=1)
    old, held = items("classification", 40, 1, OLD, "o"), items("classification", 20, 2, OLD, "h")
    parent, _ = trained(start_of(base, old, spec, None), held, tmp_path / "cold", old)
    more = both(old, items("classification", 10, 3, NEW, "n"))
    weights = []
    for number in range(2):
        start = start_of(base, more, spec, parent)
        _, result = trained(start, held, tmp_path / f"warm{number}", more)
        weights.append(result.model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def checkpoint_in(entry: UPath, folder: Path, train_set: Items, spec: VerticalSpec) -> Path:
    """A committed checkpoint without weights: what the decision reads."""
    folder.mkdir()
    manifest = {"inputs": INPUTS, "code_version": "code", "learns": True}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 2}))
    write_learnt(folder, train_set, rows_of(train_set, np.array([], int)), spec)
    return Path(commit(stage_directory(entry.parent, folder), entry).path)


def test_a_parent_is_taken_where_only_labels_came(tmp_path: Path) -> None:
    spec = spec_of("classification")
    old = items("classification", 20, 1, OLD, "o")
    more = both(old, items("classification", 5, 3, OLD, "n"))
    entry, inputs = UPath(tmp_path / "store" / "finetuned_ckpt"), {**INPUTS, "labeled_set": "next"}
    assert parent_of(entry, "code", inputs, old, spec) == (None, "there is no checkpoint yet")
    path = checkpoint_in(entry, tmp_path / "made", old, spec)

    assert parent_of(entry, "code", inputs, more, spec)[0] == path
    assert parent_of(entry, "code", {**inputs, "augmented_set": "x"}, more, spec)[0] == path

    def why(**changes: Any) -> str:
        given: dict[str, Any] = {
            "code_version": "code",
            "inputs": inputs,
            "train_set": more,
            "spec": spec,
        }
        parent, reason = parent_of(entry, **{**given, **changes})
        assert parent is None
        return reason

    assert why(cold=True) == "a cold start was asked for"
    assert "configuration" in why(code_version="other")
    assert "pretrained_ckpt changed" in why(inputs={**inputs, "pretrained_ckpt": "other"})
    assert "tfidf changed" in why(inputs={**inputs, "tfidf": "x"})
    assert "same inputs" in why(inputs=INPUTS)
    assert why(spec=spec_of("classification", warm_start=None)) == "finetune.warm_start is not set"


def test_what_a_forgotten_item_taught_does_not_live_on(tmp_path: Path) -> None:
    spec = spec_of("classification")
    old = items("classification", 20, 1, OLD, "o")
    entry = UPath(tmp_path / "store" / "finetuned_ckpt")
    checkpoint_in(entry, tmp_path / "made", old, spec)
    inputs = {**INPUTS, "labeled_set": "next"}
    forgotten = rows_of(old, np.arange(1, 20))
    assert parent_of(entry, "code", inputs, forgotten, spec) == (
        None,
        "1 items that the last checkpoint learnt are gone or changed",
    )
    rewritten = Items(["other", *old.texts[1:]], old.labels, old.groups, None, old.item_ids)
    assert parent_of(entry, "code", inputs, rewritten, spec)[0] is None


def test_a_corrected_label_is_learnt_anew(tmp_path: Path) -> None:
    spec = spec_of("classification")
    old = items("classification", 20, 1, OLD, "o")
    parent = checkpoint_in(UPath(tmp_path / "store" / "ckpt"), tmp_path / "made", old, spec)
    other = "drug" if old.labels[0] == "disease" else "disease"
    corrected = Items(old.texts, [other, *old.labels[1:]], old.groups, None, old.item_ids)
    spec = spec_of("classification", warm_start={"epochs": 2, "learning_rate_factor": 0.6})
    start = start_of(tmp_path, corrected, spec, parent)
    assert (start.facts["new_items"], start.facts["relabelled_items"]) == (1, 1)
    assert "o0" in start.items.item_ids
    assert start.whole == corrected.labels  # by whose frequency classes are weighted
    assert start.facts["replayed_items"] == round(19 * 0.5)
    assert start.spec.finetune.learning_rate == pytest.approx(0.005 * 0.6)
    assert start.spec.finetune.epochs == 2
    again = start_of(tmp_path, corrected, spec, parent)
    assert again.items.item_ids == start.items.item_ids


def test_questions_on_one_text_are_items_of_their_own(tmp_path: Path) -> None:
    spec = VerticalSpec(
        **tiny(
            task={"name": "q", "kind": "question_answering"},
            annotation={"path": "a.jsonl"},
            finetune={"warm_start": {}},
        )
    )
    span = (Span(0, 3, "answer"),)
    old = Items(["aspirin"], [span], ["g"], ["what"], ["i"])
    more = Items(["aspirin"] * 2, [span] * 2, ["g"] * 2, ["what", "why"], ["i"] * 2)
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"encoder_config": {"num_hidden_layers": 2}}))
    write_learnt(folder, old, rows_of(old, np.array([], int)), spec)
    start = start_of(tmp_path, more, spec, folder)
    assert (start.facts["new_items"], start.facts["known_items"]) == (1, 1)
    assert (folder / LEARNT).exists()


def test_private_training_is_never_warm() -> None:
    with pytest.raises(ValidationError, match="remove one of the two"):
        spec_of("classification", freeze_layers=1, privacy={"epsilon": 3.0, "delta": 1e-5})


def test_by_default_training_is_cold() -> None:
    assert VerticalSpec(**tiny()).finetune.warm_start is None
    assert WarmStart().max_drop == 0.01


def test_where_nothing_is_new_a_share_is_learnt_again(tmp_path: Path) -> None:
    """As where more annotators said the same; without replay, all of it."""
    spec = spec_of("classification")
    old = items("classification", 20, 1, OLD, "o")
    parent = checkpoint_in(UPath(tmp_path / "store" / "ckpt"), tmp_path / "made", old, spec)
    for replay, learnt in ((0.3, 6), (0.01, 1), (0.0, 20)):
        spec = spec_of("classification", warm_start={"replay": replay})
        start = start_of(tmp_path, old, spec, parent)
        assert (start.facts["new_items"], start.facts["replayed_items"]) == (0, learnt)


def test_how_the_next_training_begins_makes_no_checkpoint_outdated() -> None:
    def code_version(**warm: Any) -> str:
        asset = finetuned_asset(spec_of("classification", warm_start=warm or None))
        (version,) = asset.code_versions_by_key.values()
        return str(version)

    assert code_version(replay=0.1) == code_version(replay=0.9) == code_version()
    # One that was killed is not resumed by others all the same.
    slow, fast = (
        of_warm_start(spec_of("classification", warm_start={"replay": share}), Path("parent"))
        for share in (0.9, 0.1)
    )
    assert slow != fast
    assert slow["parent"] == fast["parent"] == "parent"
    other = finetuned_asset(spec_of("classification", epochs=9))
    assert code_version() not in other.code_versions_by_key.values()
