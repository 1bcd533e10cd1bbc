"""Rules part documents from rejected rows; no row is lost between them."""

import json
from collections.abc import Mapping

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.corpus.rules import apply_rules
from vertical_assets.spec import Rules
from vertical_assets.store.contracts import DOCUMENTS, RAW_DOCUMENTS

ROW: dict[str, object] = {
    "doc_id": "d", "source": "s", "kind": "user", "title": None, "text": "good text",
    "language": "en", "author_id": None, "published_at": None, "licence": "MIT", "meta": "{}",
    "origin": "f:1", "rule": None, "reason": None,
}  # fmt: skip


def raw(*changes: Mapping[str, object]) -> pa.RecordBatch:
    rows = [{**ROW, "doc_id": str(n), **change} for n, change in enumerate(changes)]
    return pa.RecordBatch.from_pylist(rows, RAW_DOCUMENTS)


@given(texts=st.lists(st.text(max_size=30), max_size=20), least=st.integers(1, 10))
def test_rows_in_are_rows_valid_and_rows_quarantined(texts: list[str], least: int) -> None:
    batch = raw(*({"text": text} for text in texts))
    valid, bad = apply_rules(batch, Rules(min_chars=least, max_chars=20))
    assert valid.num_rows + bad.num_rows == len(texts)
    assert set(valid["doc_id"].to_pylist()).isdisjoint(bad["doc_id"].to_pylist())
    assert all(least <= len(text) <= 20 and text.strip() for text in valid["text"].to_pylist())


def test_the_first_broken_rule_is_the_one_that_counts() -> None:
    rules = Rules(min_chars=3, max_chars=20, required=("code",))
    coded = json.dumps({"code": "A00"})
    _, bad = apply_rules(
        raw(
            {"text": "  ", "meta": coded},
            {"text": "ab", "meta": coded},
            {"text": "x" * 21, "meta": coded},
            {"meta": json.dumps({"code": " "})},
            {"rule": "broken_row", "reason": "f:1: not JSON", "text": ""},
            {"meta": coded},
        ),
        rules,
    )
    found = [(row["rule"], row["field"]) for row in bad.to_pylist()]
    assert found == [
        ("blank", "text"),
        ("too_short", "text"),
        ("too_long", "text"),
        ("required", "code"),
        ("broken_row", "text"),
    ]
    assert bad["reason"].to_pylist()[-1] == "f:1: not JSON"


def test_diversity_counts_rows_characters_and_shares() -> None:
    valid, _ = apply_rules(raw({"source": "a"}, {"source": "a"}, {"source": "b"}), Rules())
    table = source_diversity(pa.Table.from_batches([valid], DOCUMENTS))
    assert [(row["source"], row["rows"], row["characters"]) for row in table] == [
        ("a", 2, 18),
        ("b", 1, 9),
    ]
    assert sum(row["share"] for row in table) == 1.0
