"""Ablation: the same training with and without a switch, in a scratch folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from vertical_assets.evaluation.ablation import (
    ABLATION,
    SWITCHES,
    Inputs,
    NotApplicableError,
    ablate,
    applicable,
    changed,
    sample,
    shown,
)
from vertical_assets.labels.splits import split_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import LABELED
from vertical_assets.training.adaptation.base_models import prepare_base
from vertical_assets_tests.conftest import reviews, tiny

TINY: dict[str, Any] = {
    "model": {"base": "scratch", "layers": [0, 1], "hidden_size": 32, "vocabulary": 300,
              "max_tokens": 16},
    "pretrain": {"epochs": 0.2, "batch_tokens": 1024},
    "finetune": {"epochs": 1, "batch_tokens": 1024},
    "features": {"augment": {"swap": {}, "delete": {}}},
}  # fmt: skip
SPEC = VerticalSpec(**tiny(**TINY))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    rows = reviews(80)
    labeled = [
        {
            "item_id": row["id"],
            "text": row["text"],
            "task": "sentiment",
            "label": row["sentiment"],
            "confidence": 1.0,
            "n_annotators": 3,
            "method": "majority",
            "split": split_of(row["id"], SPEC),
            "cluster_id": row["id"],
        }
        for row in rows
    ]
    corpus = {
        "doc_id": [row["id"] for row in rows],
        "text": [row["text"] for row in rows],
        "meta": ["{}"] * len(rows),
        "cluster_id": [row["id"] for row in rows],
    }
    folder = tmp_path_factory.mktemp("base")
    base = prepare_base(SPEC, corpus["text"], folder)
    return Inputs(
        pa.Table.from_pylist(labeled, LABELED), pa.table(corpus), base.path, UPath(folder)
    )


def test_every_switch_gives_its_variants(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path))
    terms = tmp_path / "tiny" / "terms.txt"
    terms.parent.mkdir()
    terms.write_text("质量\n物流\n")
    inputs = replace(inputs, data=UPath(terms.parent))
    before = {file: file.read_bytes() for file in inputs.pretrained.iterdir()}
    with pytest.raises(NotApplicableError, match=r"clean\.dictionaries"):
        list(ablate(SPEC, ["keyword_attention"], inputs, tmp_path))
    spec = changed(SPEC, {"clean.dictionaries": [{"path": "terms.txt"}]})
    # Its tokenizer is made of the corpus.
    switches = [name for name in SWITCHES if name != "vocabulary"]
    assert applicable(spec) == switches
    assert applicable(SPEC) == [name for name in switches if name != "keyword_attention"]
    rows = list(ablate(spec, switches, inputs, tmp_path))
    assert pa.Table.from_pylist(rows, ABLATION).num_rows == 10
    found = {(row["switch"], row["variant"]): row for row in rows}
    assert list(found) == [
        ("augmentation", "off"),
        ("augmentation", "on"),
        ("keyword_attention", "off"),
        ("keyword_attention", "on"),
        ("fusion", "off"),
        ("fusion", "on"),
        ("freezing", "no layer frozen"),
        ("freezing", "1 of 2 layers frozen"),
        ("layers", "all layers"),
        ("layers", "2 layers"),
    ]
    items = {name: row["train_items"] for name, row in found.items()}
    off, on = (items["augmentation", name] for name in ("off", "on"))
    assert on > off == inputs.labeled["split"].to_pylist().count("train")
    trained = {name: row["trained_parameters"] for (_, name), row in found.items()}
    assert trained["1 of 2 layers frozen"] < trained["no layer frozen"]
    sizes = {name: row["parameters"] for (_, name), row in found.items()}
    assert sizes["all layers"] > sizes["2 layers"]
    # The vertical as it is stands in all three switches, and is trained once.
    same = [
        *(("augmentation", "on"), ("freezing", "no layer frozen"), ("layers", "2 layers")),
        *(("keyword_attention", "off"), ("fusion", "off")),
    ]
    for switch in ("keyword_attention", "fusion"):
        assert found[switch, "on"]["parameters"] > found[switch, "off"]["parameters"]
    assert len({found[key]["seconds"] for key in same}) == 1
    assert all(0 <= row["test_f1_macro"] <= 1 for row in rows)
    assert {file: file.read_bytes() for file in inputs.pretrained.iterdir()} == before
    # On the page each variant stands beside the first of its switch.
    pq.write_table(pa.Table.from_pylist(rows, ABLATION), tmp_path / "kept.parquet")
    gains = {
        (row["switch"], row["variant"]): row["gain"] for row in shown(tmp_path / "kept.parquet")
    }
    assert gains["augmentation", "off"] == 0
    assert gains["augmentation", "on"] == pytest.approx(
        found["augmentation", "on"]["test_f1_macro"] - found["augmentation", "off"]["test_f1_macro"]
    )
    assert shown(tmp_path / "none.parquet") == []


def test_a_bounded_ablation_learns_from_a_share_and_is_judged_on_all(
    inputs: Inputs, tmp_path: Path
) -> None:
    rows = list(ablate(SPEC, ["augmentation"], inputs, tmp_path, share=0.5, epochs=2))
    half = sample(inputs.labeled, 0.5, SPEC.seed)
    splits, all_splits = (each["split"].to_pylist() for each in (half, inputs.labeled))
    assert rows[0]["train_items"] == splits.count("train") < all_splits.count("train")
    assert [s for s in splits if s != "train"] == [s for s in all_splits if s != "train"]
    quarter = sample(inputs.labeled, 0.25, SPEC.seed)["item_id"].to_pylist()
    assert set(quarter) < set(half["item_id"].to_pylist())
    # Its base model was pretrained anew, by half as much; the vertical's own had more.
    assert len(list(tmp_path.glob("*/pretrained"))) == 1
    with pytest.raises(ValueError, match="leaves no training item"):
        sample(inputs.labeled, 1e-9, SPEC.seed)


def test_a_vocabulary_is_pruned_to_the_corpus(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(NotApplicableError, match="nothing to prune"):
        list(ablate(SPEC, ["vocabulary"], inputs, tmp_path))
    # A base that knows more than the corpus needs.
    known = prepare_base(SPEC, inputs.corpus["text"].to_pylist(), tmp_path / "known").path
    base = {**TINY["model"], "base": "path", "path": str(known)}
    spec = VerticalSpec(**tiny(**{**TINY, "model": base}))
    few = replace(inputs, corpus=inputs.corpus.slice(0, 20))
    whole, pruned = ablate(spec, ["vocabulary"], few, tmp_path)
    assert (whole["variant"], pruned["variant"]) == ("all pieces", "pieces of the corpus")
    assert pruned["parameters"] < whole["parameters"]
    own = changed(spec, {"model.prune_vocabulary": True})
    assert SWITCHES["vocabulary"](own, 2)["pieces of the corpus"] == own


def test_layers_are_halved_where_the_vertical_keeps_all() -> None:
    whole = changed(SPEC, {"model.layers": None, "finetune.freeze_layers": 4})
    fewer = SWITCHES["layers"](whole, 12)["6 layers"]
    assert fewer.model.layers == (0, 2, 4, 6, 8, 10)  # SPEC M2: from 12 to 6
    assert fewer.finetune.freeze_layers == 2


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"processes": {"devices": 2}}, {"augmentation", "fusion", "freezing", "layers"}),
        (
            {"search": {"trials": 2, "parameters": {"finetune.epochs": [1, 3]}}},
            {"augmentation", "fusion", "freezing", "layers"},
        ),
        # Neither augmented rows nor modules of one's own, nor a layer too few that is frozen.
        (
            {"finetune": {"privacy": {"epsilon": 8}, "freeze_layers": 1}},
            {"layers"},
        ),
        (
            {"model": {"base": "e5_small", "layers": [0, 6], "distill": {}}},
            {"augmentation", "fusion", "freezing", "layers", "vocabulary"},
        ),
    ],
)
def test_a_vertical_is_compared_whatever_else_it_asks_for(
    changes: dict[str, Any], left: set[str]
) -> None:
    plain = VerticalSpec(**tiny(**{**TINY, "features": {}, **changes}))
    assert set(applicable(plain)) == left


def test_a_variant_is_validated_like_a_vertical() -> None:
    with pytest.raises(ValueError, match="more than the 2 layers"):
        changed(SPEC, {"finetune.freeze_layers": 3})
