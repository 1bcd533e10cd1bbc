"""The feature assets in one process: what stands on their pages, and in the store."""

import json
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from vertical_assets.features.assets import build_assets
from vertical_assets.features.tfidf import Tfidf
from vertical_assets.features.word_vectors import WordVectors
from vertical_assets.labels.splits import TEST, split_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import StoreIOManager
from vertical_assets.store.versions import current
from vertical_assets.training.assets import build_assets as training_assets
from vertical_assets_tests.conftest import tiny
from vertical_assets_tests.labelled_reviews import publish_reviews

FEATURES: dict[str, Any] = {
    "augment": {"synonyms": {}, "swap": {}, "delete": {}},
    "tfidf": {},
    "word_vectors": {"width": 8, "min_count": 2, "epochs": 1},
}
SPEC = VerticalSpec(**tiny(features=FEATURES))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with the corpus and the labelled set of 120 real reviews."""
    monkeypatch.chdir(tmp_path)
    for name in ("VERTICAL_STORE", "VERTICAL_DATA"):
        monkeypatch.delenv(name, raising=False)
    publish_reviews(SPEC, 120)
    return tmp_path


def materialize(spec: VerticalSpec) -> dg.ExecuteInProcessResult:
    above = [dg.AssetSpec(["tiny", name]) for name in ("dedup_corpus", "labeled_set")]
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [*build_assets(spec), *above],
            resources={"io_manager": StoreIOManager()},
            instance=instance,
        )


def table(asset: str) -> pa.Table:
    return Table((current(store_root() / "tiny" / asset),)).read()


def page(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(f"tiny__{asset}")
    return {name: value.value for name, value in event.metadata.items()}


def test_features_of_a_vertical(place: Path) -> None:
    result = materialize(SPEC)
    (verdict,) = result.get_asset_check_evaluations()
    assert (verdict.check_name, verdict.passed) == ("nothing_from_held_out", True)

    labeled, augmented = table("labeled_set"), table("augmented_set").to_pylist()
    training = {r["item_id"]: r for r in labeled.to_pylist() if r["split"] == "train"}
    assert len(augmented) > len(training)
    for row in augmented:
        assert row["label"] == training[row["origin_id"]]["label"]
    shown = page(result, "augmented_set")
    assert "synonyms | kept" in shown["outcomes"]
    assert "made from" in shown["examples"]

    root = store_root() / "tiny"
    tfidf = Tfidf.load(Path(str(current(root / "tfidf"))))
    unseen = [
        id_ for id_ in table("dedup_corpus")["doc_id"].to_pylist() if split_of(id_, SPEC) == TEST
    ]
    assert tfidf.documents == 120 - len(unseen)  # fitted without the test split
    assert "positive" in page(result, "tfidf")["terms_by_class"]
    assert "neg" in page(result, "tfidf")["terms_by_source"]
    vectors = WordVectors.load(Path(str(current(root / "word_vectors"))))
    assert vectors.transform(["这本书"]).shape == (1, 8)
    assert "data:image/png" in page(result, "word_vectors")["map"]

    before = {a: current(root / a).name for a in ("augmented_set", "tfidf", "word_vectors")}
    shutil.rmtree(str(root / "tfidf"))
    materialize(SPEC)
    assert {a: current(root / a).name for a in before} == before  # the same content again


def test_only_what_the_yaml_names_is_there() -> None:
    def names(**features: Any) -> set[str]:
        spec = VerticalSpec(**tiny(features={k: FEATURES[k] for k in features}))
        return {asset.key.path[-1] for asset in build_assets(spec)}

    assert names() == set()
    assert names(tfidf=1) == {"tfidf"}
    assert names(augment=1, word_vectors=1) == {"augmented_set", "word_vectors"}


def test_training_reads_augmented_rows_where_there_are_any() -> None:
    def read_by_training(spec: VerticalSpec) -> set[str]:
        (asset,) = (a for a in training_assets(spec) if a.key.path[-1] == "finetuned_ckpt")
        return {key.path[-1] for key in asset.dependency_keys}

    assert "augmented_set" in read_by_training(SPEC)
    assert "augmented_set" not in read_by_training(VerticalSpec(**tiny()))


def test_a_dictionary_that_is_missing_stops_the_step_with_its_name(place: Path) -> None:
    spec = VerticalSpec(
        **tiny(features={"tfidf": {}}, clean={"dictionaries": [{"path": "terms.txt"}]})
    )
    with pytest.raises(dg.Failure, match=r"terms\.txt"):
        materialize(spec)


def test_the_manifest_names_the_corpus(place: Path) -> None:
    materialize(VerticalSpec(**tiny(features={"tfidf": {}})))
    folder = current(store_root() / "tiny" / "tfidf")
    inputs = json.loads((folder / "manifest.json").read_text())["inputs"]
    assert inputs == {"dedup_corpus": current(store_root() / "tiny" / "dedup_corpus").name}
