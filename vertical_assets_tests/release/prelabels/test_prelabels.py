"""What the champion says of documents without a gold label."""

from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from upath import UPath

from vertical_assets.release import channels
from vertical_assets.release.prelabels.assets import RELEASED, build_assets
from vertical_assets.release.prelabels.prelabels import ASKS_NOTHING, prelabel
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.contracts import DEDUP_DOCUMENTS, LABELED
from vertical_assets.store.io_managers import StoreIOManager
from vertical_assets.store.tables import stage_table
from vertical_assets.store.versions import commit, current
from vertical_assets_tests.conftest import Project, tiny
from vertical_assets_tests.labels.tasks.items import documents, labeled, spec_of


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("VERTICAL_STORE", "VERTICAL_DATA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def release(built: Project) -> str:
    """Makes the built artifact the champion."""
    artifact = built.current("quantized_artifact")
    digest = channels.store_release(store_root(), "tiny", artifact, {})
    folder = channels.releases_folder(store_root(), "tiny")
    channels.set_channel(folder, "champion", digest, "the first one")
    return digest


def releases() -> UPath:
    return channels.releases_folder(store_root(), "tiny")


def test_the_champion_speaks_of_what_has_no_gold_label(built: Project, place: Path) -> None:
    digest = release(built)
    spec, found = spec_of(tasks={"pool": 20}), documents(40)
    gold = labeled(found, dict.fromkeys(range(10), 3))
    said = prelabel(found.to_batches(), gold, releases(), spec)
    assert said.champion == digest
    assert said.table.num_rows == 20
    assert not set(said.table["item_id"].to_pylist()) & set(gold["item_id"].to_pylist())
    assert set(said.table["champion"].to_pylist()) == {digest}
    texts = dict(zip(found["doc_id"].to_pylist(), found["text"].to_pylist(), strict=True))
    _, predictor = channels.open_champion(releases())
    for row in said.table.to_pylist():
        shares = predictor.probabilities([texts[row["item_id"]]])[0].astype(float)
        assert row["label"] == spec.labels[shares.argmax()]
        # A text's answer may differ in the last digits with its company in a batch.
        assert row["confidence"] == pytest.approx(shares.max(), abs=1e-3)
        assert row["margin"] == pytest.approx(abs(shares[0] - shares[1]), abs=2e-3)
        assert row["entropy"] == pytest.approx(-(shares * np.log(shares)).sum(), abs=5e-3)
    again = prelabel(reversed(found.to_batches(max_chunksize=7)), gold, releases(), spec)
    assert again.table["item_id"].to_pylist() == said.table["item_id"].to_pylist()


def test_without_a_champion_the_table_is_empty_and_says_why(place: Path) -> None:
    said = prelabel(documents(4).to_batches(), LABELED.empty_table(), releases(), spec_of())
    assert (said.table.num_rows, said.champion) == (0, None)
    assert said.reason == "tiny has no champion yet; the first release makes one"


def test_questions_that_nobody_asked_are_not_answered(built: Project, place: Path) -> None:
    release(built)
    spec = spec_of("question_answering")
    said = prelabel(documents(4).to_batches(), LABELED.empty_table(), releases(), spec)
    assert (said.table.num_rows, said.reason) == (0, ASKS_NOTHING)


def test_a_champion_of_an_older_label_standard_says_nothing(built: Project, place: Path) -> None:
    release(built)
    task = {"name": "sentiment", "labels": {"bad": "", "fair": "", "good": ""}}
    spec = VerticalSpec(**tiny(task=task, annotation={"path": "annotations/*"}))
    said = prelabel(documents(4).to_batches(), LABELED.empty_table(), releases(), spec)
    assert said.table.num_rows == 0
    assert "labels negative, positive: the label standard has changed since" in said.reason


def materialize(spec: VerticalSpec, found: pa.Table) -> dict[str, object]:
    for name, table, schema in (
        ("dedup_corpus", found, DEDUP_DOCUMENTS),
        ("labeled_set", labeled(found, {0: 3}), LABELED),
    ):
        staged = stage_table(store_root(), schema, table.to_batches())
        commit(staged, store_root() / spec.name / name)
    above = [dg.AssetSpec([spec.name, n]) for n in ("dedup_corpus", "labeled_set", RELEASED)]
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [*build_assets(spec, "release"), *above],
            resources={"io_manager": StoreIOManager()},
            instance=instance,
        )
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_the_page_names_the_champion_or_why_there_is_nothing(built: Project, place: Path) -> None:
    spec, found = spec_of(), documents(10)
    page = materialize(spec, found)
    assert page["champion"] == "none"
    assert "no champion yet" in str(page["nothing_because"])
    digest = release(built)
    page = materialize(spec, found)
    assert page["champion"] == digest
    assert str(page["confidence"]).startswith("![confidence](data:image/png;base64,")
    assert Table((current(store_root() / "tiny" / "prelabels"),)).rows == 9


def test_a_damaged_champion_is_told(built: Project, place: Path) -> None:
    digest = release(built)
    folder = Path(releases().path) / digest / "artifact"
    (folder / "model.bin").write_bytes(b"")
    with pytest.raises(dg.Failure, match=r"model\.bin"):
        materialize(spec_of(), documents(4))
