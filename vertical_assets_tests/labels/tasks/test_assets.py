"""labeling_tasks as an asset: before there is a model, and with all that it can read."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from vertical_assets.labels.tasks.assets import build_assets
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.contracts import DEDUP_DOCUMENTS, LABELED, RELABEL_QUEUE
from vertical_assets.store.io_managers import StoreIOManager
from vertical_assets.store.tables import stage_table
from vertical_assets.store.task_contracts import PRELABELS
from vertical_assets.store.versions import commit, current
from vertical_assets_tests.labels.tasks.items import documents, labeled, prelabels, queue, spec_of

READ = ("dedup_corpus", "labeled_set", "adjudication_queue", "relabel_queue", "prelabels")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("VERTICAL_STORE", "VERTICAL_DATA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def put(spec: VerticalSpec, name: str, table: pa.Table, schema: pa.Schema) -> None:
    commit(stage_table(store_root(), schema, table.to_batches()), store_root() / spec.name / name)


def materialize(spec: VerticalSpec) -> dict[str, Any]:
    """Metadata of labeling_tasks, and its check."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [*build_assets(spec, "labels"), *(dg.AssetSpec([spec.name, name]) for name in READ)],
            resources={"io_manager": StoreIOManager()},
            instance=instance,
        )
    (event,) = result.get_asset_materialization_events()
    (verdict,) = result.get_asset_check_evaluations()
    return {
        **{name: value.value for name, value in event.materialization.metadata.items()},
        "check": verdict,
    }


def read(spec: VerticalSpec) -> pa.Table:
    return Table((current(store_root() / spec.name / "labeling_tasks"),)).read()


def test_a_new_vertical_has_tasks_before_it_has_labels_or_a_model(place: Path) -> None:
    spec = spec_of(tasks={"count": 10})
    put(spec, "dedup_corpus", documents(30), DEDUP_DOCUMENTS)
    page = materialize(spec)
    assert page["check"].passed
    assert read(spec).num_rows == 10
    assert "uncertainty" not in page
    lines = (place / "data" / "tiny" / "labeling_tasks" / "tasks.jsonl").read_text("utf-8")
    assert [json.loads(line)["item_id"] for line in lines.splitlines()] == (
        read(spec)["item_id"].to_pylist()
    )


def test_the_page_shows_strategies_routes_and_examples(place: Path) -> None:
    spec, found = spec_of(tasks={"count": 20}), documents(60)
    put(spec, "dedup_corpus", found, DEDUP_DOCUMENTS)
    put(spec, "labeled_set", labeled(found, dict.fromkeys(range(10), 3)), LABELED)
    put(spec, "relabel_queue", queue(found, 1, 2), RELABEL_QUEUE)
    said = prelabels({f"d{n:03}": n / 60 for n in range(10, 60)})
    put(spec, "prelabels", said, PRELABELS)
    page = materialize(spec)
    assert "| relabel | 2 | 0 |" in page["counts"]
    assert page["strategies"].startswith("![tasks by strategy and route](data:image/png;base64,")
    assert "uncertainty" in page
    assert "label_error" in page["examples"]
    assert page["relabel_queue"] == 2
    first = current(store_root() / spec.name / "labeling_tasks").name
    materialize(spec)
    assert current(store_root() / spec.name / "labeling_tasks").name == first


def test_too_few_items_warn(place: Path) -> None:
    spec, found = spec_of(tasks={"count": 20}), documents(8)
    put(spec, "dedup_corpus", found, DEDUP_DOCUMENTS)
    put(spec, "labeled_set", labeled(found, {0: 2}), LABELED)
    verdict = materialize(spec)["check"]
    assert not verdict.passed
    assert verdict.severity is dg.AssetCheckSeverity.WARN
    assert verdict.description == "7 of 20 tasks; 1 items have labels enough, 0 wait for a decision"


def test_a_missing_dictionary_is_named(place: Path) -> None:
    rules = [{"label": "positive", "dictionary": {"path": "gone.txt"}}]
    spec = spec_of(tasks={"count": 2, "rules": rules})
    put(spec, "dedup_corpus", documents(4), DEDUP_DOCUMENTS)
    with pytest.raises(dg.Failure, match=r"gone\.txt.*put the file there"):
        materialize(spec)
