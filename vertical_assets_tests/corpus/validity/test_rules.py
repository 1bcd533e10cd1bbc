"""Rules part documents from rejected rows; no row is lost between them."""

import datetime
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.corpus.validity.rules import apply_rules
from vertical_assets.spec import Rules
from vertical_assets.store.contracts import DOCUMENTS, QUARANTINE, RAW_DOCUMENTS

ROW: dict[str, Any] = {
    "doc_id": "d", "source": "s", "kind": "user", "title": None, "text": "good text",
    "language": "en", "author_id": None, "published_at": None, "licence": "MIT", "meta": "{}",
    "origin": "f:1", "rule": None, "reason": None,
}  # fmt: skip
TODAY = datetime.date(2026, 5, 1)


def raw(*changes: Mapping[str, object]) -> pa.RecordBatch:
    rows = [{**ROW, "doc_id": str(n), **change} for n, change in enumerate(changes)]
    return pa.RecordBatch.from_pylist(rows, RAW_DOCUMENTS)


def broken(rules: dict[str, Any], **row: Any) -> tuple[str, str, str | None, str] | None:
    """Rule, field, value and reason of one row's rejection; entries of `meta` as a mapping."""
    if isinstance(row.get("meta"), dict):
        row["meta"] = json.dumps(row["meta"])
    valid, bad = apply_rules(raw(row), Rules(**rules), today=TODAY)
    assert valid.num_rows + bad.num_rows == 1
    return next((tuple(list(row.values())[3:]) for row in bad.to_pylist()), None)


values: st.SearchStrategy[Any] = st.sampled_from(
    ["", " ", "7", "x", "2026-01-31", "2026-99-01", 7, -1.5, None, [], True]
)
fields = st.sampled_from(["title", "published_at", "a", "b"])
field_rules = st.one_of(
    st.fixed_dictionaries({"field": fields, "pattern": st.sampled_from([r"\d+", "[a-z]*"])}),
    st.fixed_dictionaries({"field": fields, "date": st.sampled_from(["iso", "%Y-%m-%d"]),
                           "max": st.sampled_from(["today", datetime.date(2020, 1, 1), None])}),
    st.fixed_dictionaries({"field": fields, "number": st.just(True), "min": st.integers(-2, 9)}),
    st.fixed_dictionaries({"field": fields, "allowed": st.just(["x", "7"])}),
)  # fmt: skip
rule_sets = st.builds(
    Rules,
    min_chars=st.integers(1, 5),
    max_chars=st.integers(5, 20),
    required=st.lists(fields, max_size=2),
    fields=st.lists(field_rules, max_size=3),
    languages=st.sampled_from([(), ("zh",), ("en", "zh")]),
    meaningless=st.booleans(),
)
rows = st.lists(
    st.builds(
        lambda text, title, a, b, rule: {
            "text": text, "title": title, "meta": json.dumps({"a": a, "b": b}), "rule": rule,
            "reason": rule and "f:1: not JSON",
        },
        st.one_of(st.text(max_size=25), st.text("好评 a.\u200b", max_size=25)),
        st.one_of(st.none(), st.text(max_size=3)), values, values,
        st.sampled_from([None, None, None, "broken_row"]),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=30)
@given(rows=rows, rules=rule_sets, cut=st.integers(0, 12))
def test_no_row_is_lost_and_batches_do_not_matter(
    rows: list[dict[str, Any]], rules: Rules, cut: int
) -> None:
    batch = raw(*rows)
    valid, bad = apply_rules(batch, rules, today=TODAY)
    assert valid.schema == DOCUMENTS
    assert bad.schema == QUARANTINE
    kept = set(valid["doc_id"].to_pylist())
    assert sorted([*kept, *bad["doc_id"].to_pylist()]) == sorted(batch["doc_id"].to_pylist())
    assert valid.equals(batch.select(DOCUMENTS.names).filter(pa.array(
        [row in kept for row in batch["doc_id"].to_pylist()], pa.bool_())))  # fmt: skip
    parts = [
        apply_rules(part, rules, today=TODAY) for part in (batch.slice(0, cut), batch.slice(cut))
    ]
    for whole, cuts in zip((valid, bad), zip(*parts, strict=True), strict=True):
        assert pa.Table.from_batches(cuts).equals(pa.Table.from_batches([whole]))


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
            {"text": "...."},
            {"meta": coded},
        ),
        rules,
        repeated=np.array([0, 0, 0, 0, 1, 0, 1], bool),
    )
    found = [(row["rule"], row["field"], row["value"]) for row in bad.to_pylist()]
    assert found == [
        ("blank", "text", "  "),
        ("too_short", "text", "ab"),
        ("too_long", "text", "x" * 21),
        ("required", "code", None),
        ("broken_row", "text", ""),
        ("required", "code", None),
        ("duplicate_id", "doc_id", "6"),
    ]
    assert bad["reason"].to_pylist()[-3] == "f:1: not JSON"


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\u3000", "\u200b\u200d\ufeff", "\x00\x07", "\u3164", "\u2800\ufe0f"]
)
def test_a_text_without_anything_to_see_is_blank(text: str) -> None:
    assert broken({}, text=text) == ("blank", "text", text, "the text is blank")


def test_reasons_name_the_bound_and_values_are_cut() -> None:
    assert broken({"max_chars": 300}, text="ab" * 200) == (
        "too_long", "text", "ab" * 100, "more than 300 characters",
    )  # fmt: skip
    age = {"field": "age", "number": True, "min": 0, "max": 150}
    assert broken({"fields": [age]}, meta={"age": 151}) == (
        "number_range", "age", "151", "above the greatest allowed, 150",
    )  # fmt: skip
    assert broken({"fields": [age]}, meta={"age": "-0.5"}) == (
        "number_range", "age", "-0.5", "below the least allowed, 0",
    )  # fmt: skip
    seen = {"field": "published_at", "date": "iso", "min": "2000-01-01", "max": "today"}
    assert broken({"fields": [seen]}, published_at="2026-05-02T00:00:00Z") == (
        "date_range", "published_at", "2026-05-02T00:00:00Z",
        "above the greatest allowed, 2026-05-01",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "good", "bad", "name"),
    [
        ({"pattern": r"[A-Z]\d\d"}, ["A00"], ["A00.1", "xA00"], "pattern"),
        ({"date": "%Y-%m-%d"}, ["2024-02-29"], ["2023-02-29", "29.2.2024", 20240229], "date"),
        ({"date": "iso"}, ["2024-02-29", "2024-02-29T08:00:00+08:00"], ["2024-2-29"], "date"),
        ({"date": "iso", "max": "today"}, ["2026-05-01T23:59"], ["2026-05-02"], "date_range"),
        ({"date": "%Y", "min": "1999-06-01"}, ["2000"], ["1999"], "date_range"),
        ({"number": True}, [3, "3.5", "-1e3"], ["three", "1_000", "nan", True, [1]], "number"),
        ({"number": True, "min": 1, "max": 2}, [1, 2, "1.5"], [0.99, 2.01], "number_range"),
        ({"allowed": ["f", "m", "3"]}, ["f", 3], ["F", "fm"], "allowed"),
    ],
)
def test_each_kind_of_field_rule_catches_and_passes(
    rule: dict[str, Any], good: list[Any], bad: list[Any], name: str
) -> None:
    rules = {"fields": [{"field": "entry", **rule}]}
    for value in [*good, None, "", "  ", []]:  # absent and blank are `required`'s business
        assert broken(rules, meta={"entry": value}) is None
    assert broken(rules) is None
    for value in bad:
        found = broken(rules, meta={"entry": value})
        assert found is not None
        assert found[:2] == (name, "entry")


def test_zero_and_false_are_not_blank() -> None:
    rules = {"required": ["entry"]}
    assert [broken(rules, meta={"entry": value}) for value in (0, False, "0")] == [None] * 3
    blanks: list[Any] = [None, "", "\u3000", [], {}]
    for blank in blanks:
        found = broken(rules, meta={"entry": blank})
        assert found is not None
        assert found[0] == "required"


def test_texts_in_other_languages_and_without_meaning_are_rejected() -> None:
    assert broken({"languages": ["zh"]}, text="物流很快") is None
    assert broken({"languages": ["zh"]}, text="very good") == (
        "language", "text", "very good", "is not written in zh",
    )  # fmt: skip
    noise = "." * 90
    assert broken({"meaningless": False}, text=noise) is None
    off = ["few_letters", "one_character", "low_entropy"]
    assert broken({"filters_off": off}, text=noise) is None
    assert broken({}, text=noise) == (
        "few_letters", "text", noise,
        "share of letters among visible characters: 0, allowed is at least 0.05",
    )  # fmt: skip


def test_today_must_be_given_where_a_rule_says_it() -> None:
    rules = Rules(fields=[{"field": "day", "date": "iso", "max": "today"}])
    with pytest.raises(ValueError, match="'day' says 'max: today'"):
        apply_rules(raw({}), rules)


def test_meta_that_is_no_object_is_an_error_only_where_a_rule_reads_it() -> None:
    batch = raw({"meta": "[1]"})
    assert apply_rules(batch, Rules())[0].num_rows == 1
    with pytest.raises(ValueError, match="row 0 of the batch: meta is no JSON object"):
        apply_rules(batch, Rules(required=("code",)))
