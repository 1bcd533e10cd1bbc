"""The assets in one process: what is stored, linked and, of a sensitive vertical, encrypted."""

import tempfile
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import dagster as dg
import pyarrow as pa
import pytest

from vertical_assets.evaluation.errors.assets import build_assets
from vertical_assets.evaluation.errors.slices import gates_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.contracts import DEDUP_DOCUMENTS, LABELED, PREDICTIONS
from vertical_assets.store.io_managers import StoreIOManager
from vertical_assets.store.tables import stage_table
from vertical_assets.store.versions import commit, current, stage_directory
from vertical_assets_tests.evaluation.errors.notes import (
    checkpoint_of,
    labeled_set,
    predictions_with_errors,
    spec_of,
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("VERTICAL_STORE", "VERTICAL_DATA", "VERTICAL_KEYS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VERTICAL_ENCRYPTION_KEY", "0f1e2d3c4b5a69788796a5b4c3d2e1f0" * 2)
    return tmp_path


def put(spec: VerticalSpec) -> None:
    """What the assets read, as the assets before them would have left it."""
    labeled = labeled_set("classification")
    documents = pa.Table.from_pylist(
        [
            dict.fromkeys((f.name for f in DEDUP_DOCUMENTS if not f.nullable), "")
            | {"doc_id": item, "source": "first", "words": []}
            for item in labeled["item_id"].to_pylist()
        ],
        DEDUP_DOCUMENTS,
    )
    said = predictions_with_errors(labeled, "classification")
    for name, table, schema in (
        ("labeled_set", labeled, LABELED),
        ("predictions", said, PREDICTIONS),
        ("dedup_corpus", documents, DEDUP_DOCUMENTS),
    ):
        staged = stage_table(store_root(), schema, table.to_batches(), spec.sensitive)
        commit(staged, store_root() / spec.name / name)
    with tempfile.TemporaryDirectory() as folder:
        staged = stage_directory(store_root(), checkpoint_of(spec, Path(folder)))
    commit(staged, store_root() / spec.name / "finetuned_ckpt")


def materialize(spec: VerticalSpec) -> dg.ExecuteInProcessResult:
    names = ("labeled_set", "predictions", "dedup_corpus", "finetuned_ckpt")
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [*build_assets(spec, "evaluation"), *(dg.AssetSpec([spec.name, n]) for n in names)],
            resources={"io_manager": StoreIOManager()},
            instance=instance,
        )


def read(spec: VerticalSpec, name: str) -> pa.Table:
    return Table((current(store_root() / spec.name / name),)).read()


def test_tables_and_report_are_stored_and_linked(place: Path) -> None:
    spec = spec_of("classification", evaluate={"slices": {"min_items": 5}})
    put(spec)
    result = materialize(spec)
    slices = read(spec, "slices")
    (gate,) = gates_of(slices, spec)
    (verdict,) = result.get_asset_check_evaluations()
    assert (verdict.check_name, verdict.passed) == ("worst_slice", gate.passed)
    assert not gate.passed  # of the longest notes nothing is right
    assert "first" in slices["slice"].to_pylist()
    assert {"label_error", "confident_error"} & {
        reason for row in read(spec, "relabel_queue")["reasons"].to_pylist() for reason in row
    }
    for event in result.get_asset_materialization_events():
        link = event.materialization.metadata["report"].value
        page = Path(url2pathname(urlparse(str(link)).path))
        assert page.is_absolute()
        assert event.materialization.metadata["report_file"].value == str(page)
        assert read(spec, "errors")["text"][-1].as_py() in page.read_text("utf-8")


def test_a_sensitive_vertical_leaves_no_plain_text(place: Path) -> None:
    spec = spec_of("classification", sensitive=True)
    put(spec)
    result = materialize(spec)
    texts = {text.encode() for text in labeled_set("classification")["text"].to_pylist()}
    files = [file for file in (place / "data" / "store").rglob("*") if file.is_file()]
    assert any(file.suffix == ".html" for file in files)
    for file in files:
        content = file.read_bytes()
        assert not any(text in content for text in texts), file
    for event in result.get_asset_materialization_events():
        assert "preview" not in event.materialization.metadata
    assert len(read(spec, "errors")) > 0  # with the key it can be read


def test_editing_the_bar_makes_only_these_assets_unsynced() -> None:
    first, second = (
        {
            key.path[-1]: version
            for asset in build_assets(spec, "evaluation")
            for key, version in asset.code_versions_by_key.items()
        }
        for spec in (
            spec_of("classification"),
            spec_of("classification", evaluate={"slices": {"max_drop": 0.1}}),
        )
    )
    assert first.keys() == {"slices", "errors", "relabel_queue", "error_report"}
    assert all(first[name] != second[name] for name in first)
    same = spec_of("classification", evaluate={"f1": 0.5})
    (asset,) = build_assets(same, "evaluation")
    assert {k.path[-1]: v for k, v in asset.code_versions_by_key.items()} == first
