"""The corpus assets in one process: what a data engineer sees on their pages, and in the store."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from vertical_assets.corpus.assets import build_assets
from vertical_assets.spec import VerticalSpec
from vertical_assets.store import Table, store_root
from vertical_assets.store.io_managers import StoreIOManager
from vertical_assets.store.keys import EncryptionKeyError
from vertical_assets.store.versions import current
from vertical_assets_tests.conftest import reviews, tiny

SECRETS = ["13812345678", "张三丰", "zhang@example.com"]
ROWS: list[dict[str, Any]] = [
    *({**row, "stars": 5, "age": 20 + n} for n, row in enumerate(reviews(60))),
    {
        "id": "pii",
        "text": "患者张三丰，电话13812345678，邮箱zhang@example.com，花了３.５万元。",
        "stars": 4,
    },
    {"id": "html", "text": "<p>书&amp;笔都<b>不错</b></p>，ＡＢＣ", "stars": 3},
    {"id": "stars", "text": "这个评价的星级不对", "stars": 9},
    {"id": "blank", "text": "　 "},
    {"id": "mess", "text": "！！！！！！！！！！！！！！！！！！！！"},
    {"id": "html", "text": "同一个编号又来了一次"},
]


def spec(**changes: Any) -> VerticalSpec:
    source = {"name": "shop", "kind": "user", "licence": "MIT", "path": "*.jsonl"}
    return VerticalSpec.model_validate(
        tiny(
            sources=[source],
            rules={"fields": [{"field": "stars", "number": True, "min": 1, "max": 5}]},
            clean={"numbers": "digits"},
            **changes,
        )
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("VERTICAL_STORE", "VERTICAL_DATA", "VERTICAL_KEYS", "VERTICAL_PSEUDONYM_KEY"):
        monkeypatch.delenv(name, raising=False)
    write("a.jsonl", ROWS)
    return tmp_path


def write(name: str, rows: list[dict[str, Any]]) -> None:
    file = Path("data/tiny") / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), "utf-8")


def materialize(spec: VerticalSpec) -> dg.ExecuteInProcessResult:
    """All corpus assets, as a run does."""
    assets = [asset for asset in build_assets(spec) if isinstance(asset, dg.AssetsDefinition)]
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"io_manager": StoreIOManager()}
        raw = [asset for asset in assets if asset.partitions_def]
        rest = [asset for asset in assets if not asset.partitions_def]
        dg.materialize(raw, resources=resources, instance=instance, partition_key="shop")
        return dg.materialize([*rest, *raw], selection=rest, resources=resources, instance=instance)


def table(asset: str) -> Table:
    return Table((current(store_root() / "tiny" / asset),))


def test_every_row_is_kept_or_quarantined_with_its_rule(place: Path) -> None:
    result = materialize(spec())
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
    caught = {row["rule"]: row for row in table("quarantine").read().to_pylist()}
    assert {"number_range", "blank", "duplicate_id"} <= set(caught)
    assert caught["number_range"]["field"] == "stars"
    assert caught["number_range"]["value"] == "9"
    assert len(caught) == 4
    assert table("valid_corpus").rows + table("quarantine").rows == len(ROWS)


def test_texts_are_cleaned_and_personal_data_are_gone(place: Path) -> None:
    materialize(spec())
    rows = table("clean_corpus").read().to_pylist()
    texts = {row["origin"]: row for row in rows}
    patient = texts[f"a.jsonl:{61}"]
    assert not any(secret in patient["text"] for secret in SECRETS)
    assert "35000" in patient["text"]
    assert "书&笔都不错" in texts[f"a.jsonl:{62}"]["text"]
    assert "ABC" in texts[f"a.jsonl:{62}"]["text"]
    assert not any(secret in patient["changes"] for secret in SECRETS)
    assert all(
        "".join(row["words"]).replace(" ", "") == row["text"].replace(" ", "") for row in rows
    )


def test_only_new_files_are_read_and_worked_on(place: Path) -> None:
    materialize(spec())
    before = {part.digest for part in table("clean_corpus").parts()}
    write("b.jsonl", [{"id": "new", "text": "后来才到的一条新评价，东西很好"}])
    result = materialize(spec())
    (raw,) = result.asset_materializations_for_node("tiny__valid_corpus")[:1]
    assert raw is not None
    parts = table("clean_corpus").parts()
    assert len({part.digest for part in parts} - before) <= 1
    assert table("dedup_corpus").rows == 63


def test_other_code_makes_every_part_anew(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> set[str]:
        tables = ("valid_corpus", "clean_corpus", "dedup_corpus")
        return {part.key for asset in tables for part in table(asset).parts()}

    materialize(spec())
    before = keys()
    monkeypatch.setattr("vertical_assets.corpus.flow.VERSION", "another")
    materialize(spec())
    assert not before & keys()


def test_daft_gives_the_same_table(place: Path) -> None:
    pytest.importorskip("daft", reason="daft (extra 'scale') is not installed")
    materialize(spec())
    before = current(store_root() / "tiny" / "dedup_corpus").name
    materialize(spec(dedup={"engine": "daft"}))
    assert current(store_root() / "tiny" / "dedup_corpus").name == before


def test_attributes_of_authors_are_generalised(place: Path) -> None:
    policy = {"quasi_identifiers": ["age"], "k": 5, "hierarchies": {"age": [10, 20]}}
    result = materialize(spec(deidentify={"attributes": policy}))
    checks = {(c.asset_key.path[-1], c.check_name): c for c in result.get_asset_check_evaluations()}
    assert checks["author_attributes", "k_anonymity"].passed
    ages = {
        json.loads(meta).get("age") for meta in table("clean_corpus").read()["meta"].to_pylist()
    }
    assert not {str(20 + n) for n in range(60)} & ages
    released = table("author_statistics").read().to_pylist()
    assert {row["statistic"] for row in released} == {"count", "mean"}
    ledger = (place / "data" / "tiny" / "privacy_ledger.jsonl").read_text()
    materialize(spec(deidentify={"attributes": policy}))
    assert (place / "data" / "tiny" / "privacy_ledger.jsonl").read_text() == ledger


def test_a_sensitive_vertical_leaves_no_plain_text_in_the_store(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EncryptionKeyError, match="vertical-assets keys create"):
        materialize(spec(sensitive=True))
    monkeypatch.setenv("VERTICAL_ENCRYPTION_KEY", "0f1e2d3c4b5a69788796a5b4c3d2e1f0" * 2)
    result = materialize(spec(sensitive=True))
    assert result.success
    words = [ROWS[n]["text"].encode() for n in range(60)]
    for file in (place / "data" / "store").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(word in content for word in words), file
    for event in result.get_asset_materialization_events():
        assert "preview" not in event.materialization.metadata
    assert table("dedup_corpus").rows == 62
    monkeypatch.setenv("VERTICAL_ENCRYPTION_KEY", "00112233445566778899aabbccddeeff" * 2)
    with pytest.raises(EncryptionKeyError, match="needs the key"):
        table("dedup_corpus").read()
