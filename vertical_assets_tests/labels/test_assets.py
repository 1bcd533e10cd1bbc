"""The assets of the labels in one process, for other kinds of task than classification."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from vertical_assets.labels.batches.automation import register
from vertical_assets.labels.splits import TEST, TRAIN, items_of
from vertical_assets.labels.targets import Span, as_row, kind_of, targets_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.labels import SIMULATED
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import StoreIOManager
from vertical_assets.store.versions import current
from vertical_assets.trace import rows_about
from vertical_assets.training.assets import build_assets as training_assets
from vertical_assets_tests.bc5cdr import bc5cdr, documents
from vertical_assets_tests.labels.room import from_files_to_gold, made

WANTED = ("agreement_report", "labeled_set", "contamination", "baselines")


def build(spec: VerticalSpec, folder: Path, rows: list[dict[str, Any]]) -> dict[str, Table]:
    """Corpus, labels and baselines of a vertical with one source; checks must pass."""
    (source,) = spec.sources
    file = folder / "data" / spec.name / str(source.path)
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), "utf-8")
    light = [asset for asset in training_assets(spec) if asset.key.path[-1] == "baselines"]
    assets = made([*from_files_to_gold(spec), *light])
    resources = {"io_manager": StoreIOManager()}
    keys = [dg.AssetKey([spec.name, name]) for name in WANTED]
    raw, said, *_ = (asset for asset in assets if asset.partitions_def)
    parted = dg.AssetSelection.assets(*raw.keys, *said.keys)
    corpus = dg.AssetSelection.groups("corpus") - parted
    with dg.DagsterInstance.ephemeral() as instance:

        def run(selection: dg.AssetSelection, **more: Any) -> dg.ExecuteInProcessResult:
            return dg.materialize(
                assets, selection=selection, resources=resources, instance=instance, **more
            )

        run(dg.AssetSelection.assets(*raw.keys), partition_key=source.name)
        run(corpus)
        register(spec, instance)
        run(dg.AssetSelection.assets(*said.keys), partition_key=SIMULATED)
        chosen = dg.AssetSelection.assets(*keys).upstream().required_multi_asset_neighbors()
        result = run(chosen - corpus - parted)
    blocking = [e for e in result.get_asset_check_evaluations() if e.blocking]
    assert {e.check_name for e in blocking if e.passed} >= {
        "alpha",
        "items_conserved",
        "no_leakage",
    }
    places = {"annotations": f"annotations/{SIMULATED}"}
    return {
        name: Table((current(store_root() / spec.name / places.get(name, name)),))
        for name in ("annotations", "labeled_set", "baselines")
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("VERTICAL_STORE", "VERTICAL_DATA", "VERTICAL_KEYS", "VERTICAL_PSEUDONYM_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_real_entities_go_from_the_source_to_gold_and_a_baseline(place: Path) -> None:
    spec = VerticalSpec(**bc5cdr())
    tables = build(spec, place, documents("train", 200))
    labeled = tables["labeled_set"].read()
    assert kind_of(labeled) == "entities"
    train = items_of(labeled, TRAIN)
    text, spans = next((t, s) for t, s in zip(train.texts, train.labels, strict=True) if s)
    assert isinstance(spans[0], Span)
    assert spans[0].label in spec.labels
    assert text[spans[0].start : spans[0].end].strip()
    (traced,) = rows_about(tables["labeled_set"], train.item_ids[0])
    assert traced["spans"] == [as_row(span) for span in train.labels[0]]
    predicted = tables["baselines"].read()
    assert len(predicted) == len(labeled) - len(train.texts)
    assert any(targets_of(predicted, "entities", "predicted_"))


def test_questions_are_items_of_their_own_all_the_way(place: Path) -> None:
    rows = [
        {
            "id": str(number),
            "text": f"Drug number {number} heals ailment {number + 1}. "
            f"Take {number + 2} tablets of it with {number + 3} glasses of water.",
            "asked": [
                {
                    "question": f"What does drug number {number} heal?",
                    "spans": [{"quote": f"ailment {number + 1}"}],
                },
                {
                    "question": "How many tablets are taken?",
                    "spans": [{"quote": f"{number + 2}", "prefix": "Take ", "suffix": " tablets"}],
                },
            ],
        }
        for number in range(100, 160)
    ]
    task = {"name": "leaflets", "kind": "question_answering"}
    simulate = {"gold": "asked", "error_rate": 0.01}
    spec = VerticalSpec(
        **bc5cdr(
            task=task,
            annotation={"simulate": simulate},
            dedup={"threshold": 1.0},
            split={"test": 0.4},
        )
    )
    tables = build(spec, place, rows)
    assert tables["annotations"].rows == 60 * 2 * 3
    labeled = tables["labeled_set"].read()
    test = items_of(labeled, TEST)
    assert test.questions is not None
    assert set(test.item_ids) <= set(tables["annotations"].read()["item_id"].to_pylist())
    predicted = tables["baselines"].read().to_pylist()
    asked = {(row["item_id"], row["question"]) for row in predicted}
    assert len(asked) == len(predicted)
