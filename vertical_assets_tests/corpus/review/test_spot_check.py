"""Spot check: a sample that hardly moves, one verdict a document, a known interval."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.corpus.review.spot_check import draw_sample, judge, validity, wilson_interval
from vertical_assets.store.contracts import SPOT_CHECK, SPOT_VERDICTS

Row = dict[str, Any]


def document(number: int, source: str = "s", language: str = "zh") -> Row:
    return {"doc_id": f"d{number}", "source": source, "language": language, "text": "文"}


def sample_of(rows: list[Row], size: int = 10, seed: int = 0) -> pa.Table:
    return draw_sample(pa.Table.from_pylist(rows).to_batches(max_chunksize=7), size, seed)


def ids(sample: pa.Table) -> set[str]:
    return set(sample["doc_id"].to_pylist())


def said(*verdicts: tuple[str, str, str]) -> pa.Table:
    names = ("doc_id", "annotator_id", "verdict")
    rows = [{**dict(zip(names, row, strict=True)), "origin": "f:1"} for row in verdicts]
    return pa.Table.from_pylist(rows, SPOT_VERDICTS)


CORPORA = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["zh", "en"])), min_size=1)


@given(corpus=CORPORA, size=st.integers(1, 40), seed=st.integers(0, 3), data=st.data())
def test_the_sample_is_stratified_stable_and_blind_to_order(
    corpus: list[tuple[str, str]], size: int, seed: int, data: st.DataObject
) -> None:
    rows = [document(number, *stratum) for number, stratum in enumerate(corpus)]
    sample = sample_of(rows, size, seed)
    strata = set(corpus)
    assert sample.num_rows == min(len(rows), max(size, len(strata)))
    drawn = zip(sample["source"].to_pylist(), sample["language"].to_pylist(), strict=True)
    assert set(drawn) == strata
    assert sample_of(data.draw(st.permutations(rows)), size, seed).equals(sample)
    assert ids(sample) <= ids(sample_of(rows, size + 1, seed))
    added = [*rows, document(len(rows), *data.draw(st.sampled_from(corpus)))]
    assert len(ids(sample) - ids(sample_of(added, size, seed))) <= 2


def test_places_are_proportional_with_one_at_least() -> None:
    rows = [document(n, "big" if n < 900 else "small") for n in range(999)]
    rows.append(document(1000, "tiny"))
    sample = sample_of(rows, 100)
    assert Counter(sample["source"].to_pylist()) == {"big": 89, "small": 10, "tiny": 1}
    assert ids(sample_of(rows, 100, seed=1)) != ids(sample)


def test_a_document_counts_once_by_the_majority_and_is_not_valid_on_a_tie() -> None:
    sample = sample_of([document(n) for n in range(5)])
    judged = judge(
        sample,
        said(
            ("d1", "a", "valid"), ("d1", "b", "valid"), ("d1", "c", "blank"),
            ("d2", "a", "valid"), ("d2", "b", "garbled"),
            ("d3", "a", "off_topic"), ("d3", "b", "blank"), ("d3", "c", "off_topic"),
            ("gone", "a", "valid"), ("gone", "b", "valid"),
        ),
    )  # fmt: skip
    rows = {row["doc_id"]: (row["verdict"], row["verdicts"]) for row in judged.sample.to_pylist()}
    assert rows == {
        "d0": (None, 0), "d1": ("valid", 3), "d2": ("garbled", 2), "d3": ("off_topic", 3),
        "d4": (None, 0),
    }  # fmt: skip
    assert judged.sample.schema.equals(SPOT_CHECK)
    assert judged.outside == 2


def test_validity_overall_and_by_stratum() -> None:
    rows = [document(n, "a") for n in range(4)] + [document(9, "b", "en")]
    judged = judge(
        sample_of(rows), said(*((f"d{n}", "x", "valid" if n else "blank") for n in range(3)))
    )
    overall, first, second = validity(judged.sample).to_pylist()
    assert (overall["scope"], overall["sampled"], overall["judged"]) == ("overall", 5, 3)
    assert (overall["valid"], overall["rate"]) == (2, 2 / 3)
    assert (overall["low"], overall["high"]) == wilson_interval(2, 3)
    assert (first["source"], first["language"], first["judged"]) == ("a", "zh", 3)
    assert (second["source"], second["judged"], second["rate"], second["low"]) == (
        "b",
        0,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_has_the_published_ends(
    successes: int, trials: int, low: float, high: float
) -> None:
    """Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I."""
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(
    trials=st.integers(1, 10_000), share=st.floats(0, 1), level=st.sampled_from([0.9, 0.95, 0.99])
)
def test_wilsons_interval_holds_the_rate(trials: int, share: float, level: float) -> None:
    successes = round(share * trials)
    low, high = wilson_interval(successes, trials, level)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = wilson_interval(trials - successes, trials, level)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_no_trials_have_no_interval() -> None:
    with pytest.raises(ValueError, match="0 successes in 0 trials"):
        wilson_interval(0, 0)
