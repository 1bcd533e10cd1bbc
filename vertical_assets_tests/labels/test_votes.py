"""Votes: annotations as numbers, and which of an annotator's judgements counts."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.labels import votes as module
from vertical_assets.labels.votes import different_rows, latest, pairs_within, votes_of
from vertical_assets_tests.labels.agreement.test_report import said, with_batches


def test_votes_are_counted_by_item_and_by_annotator() -> None:
    rows = [("x", "ann", "b"), ("y", "ann", "a"), ("x", "bob", "b"), ("x", "cy", "a")]
    votes = votes_of(said(rows), ["a", "b"])
    assert votes.items.to_pylist() == ["x", "y"]
    assert votes.annotators == ["ann", "bob", "cy"]
    assert votes.counts.tolist() == [[1, 2], [1, 0]]
    assert votes.indicator.toarray().tolist() == [[0, 1, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0]]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("12"),
            st.sampled_from("xy"),
            st.just("a"),
            st.sampled_from(["first", "second"]),
            st.sampled_from([None, "yesterday", "2026-01-01", "2026-02-01"]),
        ),
        max_size=9,
    )
)
def test_the_latest_judgement_counts_and_of_equal_times_the_last_row(
    rows: list[tuple[str, str, str, str, str | None]],
) -> None:
    times = ["" if time in (None, "yesterday") else time for *_, time in rows]
    last: dict[tuple[str, str], int] = {}
    for number, (item, who, *_) in enumerate(rows):
        before = last.get((item, who))
        if before is None or times[number] >= times[before]:
            last[item, who] = number
    table = with_batches(rows)
    assert latest(table).equals(table.take(pa.array(sorted(last.values()), pa.int64())))


def test_questions_of_one_text_are_judged_one_by_one() -> None:
    table = with_batches([("1", "x", "a", "b", None)] * 3)
    asked = pa.array(["why?", "how?", "why?"])
    table = table.set_column(table.column_names.index("question"), "question", asked)
    assert latest(table)["question"].to_pylist() == ["how?", "why?"]


@given(st.lists(st.integers(0, 4), max_size=30))
def test_every_two_entries_of_a_group_are_found_once(groups: list[int]) -> None:
    left, right = pairs_within(np.array(groups, np.int64))
    found = {frozenset(pair) for pair in zip(left.tolist(), right.tolist(), strict=True)}
    expected = {
        frozenset((a, b)) for a in range(len(groups)) for b in range(a) if groups[a] == groups[b]
    }
    assert found == expected
    assert len(left) == len(expected)


@pytest.mark.parametrize("columns", [3, 60])
def test_different_rows_are_found_however_many_columns(columns: int) -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 3, (6, columns))[rng.integers(0, 6, 50)]
    rows, place, frequency = different_rows(counts)
    assert (rows[place] == counts).all()
    assert frequency.tolist() == np.bincount(place).tolist()
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_keys_that_would_not_fit_in_64_bits_are_made_dense(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many values per column as a table of some millions of rows could have."""
    monkeypatch.setattr(module, "len", lambda values: 2_200_000, raising=False)
    rows = [(str(n % 7), f"a{n % 5}", "a", "b", "2026-01-01") for n in range(70)]
    found = latest(with_batches(rows))
    monkeypatch.undo()
    assert found.equals(with_batches(rows).slice(35))
