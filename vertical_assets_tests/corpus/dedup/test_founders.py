"""Founders: a cluster keeps its id, so that no item changes its split as the corpus grows."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.corpus.dedup.dedup import find_duplicates
from vertical_assets.corpus.dedup.founders import clusters_of
from vertical_assets.labels.splits import split_of
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.conftest import tiny

SPEC = VerticalSpec(**tiny(dedup={"keep": "longest", "threshold": 0.6}))
WORDS = (
    "这本书",
    "内容很好",
    "印刷清楚",
    "推荐购买",
    "质量一般",
    "快递很慢",
    "不会再来",
    "价格便宜",
)


def grown(
    texts: list[str], before: pa.Table | None, forgotten: list[str] | None = None
) -> pa.Table:
    """doc_id and cluster_id of what is kept, and `dropped` for each cluster; ids are places."""
    ids = [f"{number:04}" for number in range(len(texts))]
    documents = pa.table({"doc_id": ids, "text": texts})
    found = find_duplicates(documents.to_batches(), SPEC)
    clusters = clusters_of(found, before, pa.array(forgotten or [], pa.string()))
    kept = pa.table({"doc_id": ids, "cluster_id": clusters}).filter(pa.array(found.stays))
    of_kept = dict(zip(kept["doc_id"].to_pylist(), kept["cluster_id"].to_pylist(), strict=True))
    assert all(
        row["cluster_id"] == of_kept[row["kept_id"]] for row in found.table(clusters).to_pylist()
    )
    return kept


def test_what_takes_an_items_place_takes_its_cluster_and_so_its_split() -> None:
    short, long = "这本书的内容很好，印刷也清楚", "这本书的内容很好，印刷也清楚，推荐"
    before = grown([short], None)
    after = grown([short, long], before)
    assert after.to_pylist() == [{"doc_id": "0001", "cluster_id": "0000"}]
    longest = grown([short, long, long + "购买"], after)
    assert longest.to_pylist() == [{"doc_id": "0002", "cluster_id": "0000"}]


def test_without_a_past_a_cluster_is_named_after_the_document_that_is_kept() -> None:
    found = grown(["这本书的内容很好", "这本书的内容很好啊", "价格便宜"], None)
    assert found["cluster_id"].equals(found["doc_id"])


def test_the_id_of_a_forgotten_document_is_not_handed_on() -> None:
    short, long = "这本书的内容很好，印刷也清楚", "这本书的内容很好，印刷也清楚，推荐"
    after = grown([short, long], grown([short], None))
    gone = grown(["完全不同", long], after, forgotten=["0000"])
    assert "0000" not in gone.filter(pa.array([False, True]))["cluster_id"].to_pylist()


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8), min_size=2, max_size=24),
    st.data(),
)
def test_as_the_corpus_grows_old_items_stay_in_their_split(
    texts: list[list[str]], data: st.DataObject
) -> None:
    """Whatever is added: a document that stays keeps its split, and one that replaces others has
    the split of one of them.
    """
    written = ["，".join(words) for words in texts]
    steps = sorted(data.draw(st.sets(st.integers(1, len(written)), min_size=1)))
    before: pa.Table | None = None
    splits: dict[str, str] = {}
    for size in [*steps, len(written)]:
        now = grown(written[:size], before)
        clusters = dict(zip(*(now[name].to_pylist() for name in now.column_names), strict=True))
        found = find_duplicates(
            pa.table(
                {"doc_id": [f"{n:04}" for n in range(size)], "text": written[:size]}
            ).to_batches(),
            SPEC,
        )
        replaced: dict[str, set[str]] = {}
        for row in found.table().to_pylist():
            if row["dropped_id"] in splits:
                replaced.setdefault(row["kept_id"], set()).add(splits[row["dropped_id"]])
        for doc_id, cluster in clusters.items():
            split = split_of(cluster, SPEC)
            if doc_id in splits:
                assert split == splits[doc_id]
            elif doc_id in replaced:
                assert split in replaced[doc_id]
        splits = {doc_id: split_of(cluster, SPEC) for doc_id, cluster in clusters.items()}
        before = now


def test_the_store_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the tables themselves, part by part, as the asset does it."""
    from upath import UPath

    from vertical_assets.corpus.flow import SKETCHES, deduplicate
    from vertical_assets.store.contracts import CLEAN_DOCUMENTS, DEDUP_DOCUMENTS, DUPLICATES
    from vertical_assets.store.tables import TableWriter, previous_version, stage_table
    from vertical_assets.store.versions import Table, commit
    from vertical_assets_tests.corpus.validity.test_rules import ROW

    monkeypatch.setenv("VERTICAL_DATA", str(tmp_path / "data"))
    root = UPath(tmp_path / "store")
    entries = {name: root / "tiny" / name for name in ("kept", "dropped", "sketches")}
    schemas = {"kept": DEDUP_DOCUMENTS, "dropped": DUPLICATES, "sketches": SKETCHES}

    def build(texts: list[str]) -> list[dict[str, str]]:
        rows = [
            {**ROW, "doc_id": f"{n:04}", "text": text, "words": [], "changes": "[]"}
            for n, text in enumerate(texts)
        ]
        table = pa.Table.from_pylist(
            [{name: row[name] for name in CLEAN_DOCUMENTS.names} for row in rows], CLEAN_DOCUMENTS
        )
        cleaned = stage_table(root, CLEAN_DOCUMENTS, table.to_batches())
        writers = {
            name: TableWriter(root, schemas[name], previous_version(entry))
            for name, entry in entries.items()
        }
        deduplicate(Table((cleaned.path,)), SPEC, *writers.values())
        for name, writer in writers.items():
            commit(writer.close(), entries[name])
        kept = previous_version(entries["kept"])
        assert kept is not None
        return kept.read(["doc_id", "cluster_id"]).to_pylist()

    short, long = "这本书的内容很好，印刷也清楚", "这本书的内容很好，印刷也清楚，推荐"
    assert build([short, "价格便宜"])[0] == {"doc_id": "0000", "cluster_id": "0000"}
    for _ in range(2):  # a second time the part is taken over
        assert {"doc_id": "0002", "cluster_id": "0000"} in build([short, "价格便宜", long])
    tombstone = {"doc_id": "0000", "source": "a", "forgotten_at": "2024-05-01T00:00:00+00:00"}
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    (tmp_path / "data" / "tiny" / "tombstones.jsonl").write_text(json.dumps(tombstone) + "\n")
    assert {"doc_id": "0002", "cluster_id": "0002"} in build([short, "价格便宜", long])
