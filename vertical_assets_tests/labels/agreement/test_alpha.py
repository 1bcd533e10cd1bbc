"""Alpha and AC: published values at every level, and the library's and definitions' own."""

import json
from itertools import combinations
from typing import Any

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.labels.agreement import alpha as module
from vertical_assets.labels.agreement.alpha import Units, two_coders, units_of
from vertical_assets.labels.agreement.by_numbers import units_of_numbers
from vertical_assets.spec import Level
from vertical_assets_tests.conftest import shared_data

LEVELS: list[Level] = ["nominal", "ordinal", "interval", "ratio"]


def examples() -> list[Any]:
    return json.loads((shared_data("krippendorff_examples") / "examples.json").read_text())


def counted(rows: list[list[Any]], level: Level) -> Units:
    """Units of coders x units."""
    values = sorted({value for row in rows for value in row if value is not None})
    counts = [[column.count(value) for value in values] for column in zip(*rows, strict=True)]
    numbers = values if isinstance(values[0], int) else range(len(values))
    return units_of(np.array(counts), np.array(numbers, np.float64), level)


def every(units: Units) -> np.ndarray:
    return units.frequency[None].astype(np.float64)


def test_published_examples_have_their_published_alpha_at_every_level() -> None:
    seen = []
    for example in examples():
        for level, published in example["alpha"].items():
            units = counted(example["rows"], level)
            closed_form = units.pairable.alphas(every(units.pairable))[0]
            assert units.alpha() == pytest.approx(published, abs=5e-4), (example["name"], level)
            assert closed_form == pytest.approx(published, abs=5e-4), (example["name"], level)
            seen.append(level)
    assert sorted(seen) == ["interval", "interval", *["nominal"] * 4, "ordinal", "ratio"]


@pytest.mark.parametrize(
    ("level", "of_four_raters", "of_two_abstractors"),
    [
        ("nominal", 0.77544, 0.84933),
        ("ordinal", 0.89894, 0.92519),
        ("interval", 0.91400, 0.94024),
        ("ratio", 0.85737, 0.96325),
    ],
)
def test_gwets_own_examples(level: Level, of_four_raters: float, of_two_abstractors: float) -> None:
    """Gwet (2014), page 120 (the same ratings as Krippendorff's example C) and the diagnoses of
    two abstractors, with the package irrCAC's values; its weights "quadratic" are our interval's.
    """
    ratings = next(e["rows"] for e in examples() if e["name"].startswith("Krippendorff 2011 C"))
    units = counted(ratings, level)
    assert units.acs(every(units))[0] == pytest.approx(of_four_raters, abs=5e-6)
    diagnoses = np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]], np.float64)
    pair = two_coders(np.array([1.0, 2.0, 3.0]), level)
    assert pair.acs(diagnoses.reshape(1, 9))[0] == pytest.approx(of_two_abstractors, abs=5e-6)
    if level == "nominal":
        assert pair.alphas(diagnoses.reshape(1, 9))[0] == pytest.approx(0.7972585, abs=5e-8)
        assert pair.percents(diagnoses.reshape(1, 9))[0] == pytest.approx(0.89)


def test_ac1_does_not_fall_where_nearly_all_labels_are_the_same() -> None:
    """118 of 125 both positive, none both negative (Gwet 2002, "Kappa statistic is not satisfactory
    for assessing the extent of agreement between raters").
    """
    units = two_coders(np.arange(2.0), "nominal")
    table = np.array([[118.0, 5.0, 2.0, 0.0]])
    assert units.percents(table)[0] == pytest.approx(0.944)
    assert units.acs(table)[0] == pytest.approx(0.9408, abs=5e-5)
    assert units.alphas(table)[0] < 0


ratings = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=2, max_size=12
).filter(lambda units: len({v for unit in units if len(unit) > 1 for v in unit}) > 1)
VALUES = np.array([0.0, 1.0, 2.5, 7.0])


def table_of(units: list[list[int]]) -> np.ndarray:
    return np.array([np.bincount(unit, minlength=4) for unit in units])


@settings(max_examples=60)
@given(ratings, st.sampled_from(LEVELS))
def test_the_closed_form_is_the_librarys(units: list[list[int]], level: Level) -> None:
    """Where ratings are labels (dense) and where they are numbers (sparse)."""
    counts = table_of(units)
    pairable = counts[counts.sum(axis=1) > 1]
    used = pairable.any(axis=0)
    expected = krippendorff.alpha(
        value_counts=pairable[:, used], value_domain=VALUES[used], level_of_measurement=level
    )
    dense = units_of(counts, VALUES, level).pairable
    assert dense.alphas(every(dense))[0] == pytest.approx(expected, abs=1e-9)
    if level != "nominal":
        places = np.repeat(np.arange(len(units)), [len(unit) for unit in units])
        numbers = VALUES[[value for unit in units for value in unit]]
        sparse = units_of_numbers(places, numbers, level).pairable
        assert sparse.alphas(every(sparse))[0] == pytest.approx(expected, abs=1e-9)
        assert sparse.alpha() == pytest.approx(expected, abs=1e-9)


@settings(max_examples=30)
@given(ratings, st.sampled_from(LEVELS), st.randoms(use_true_random=False))
def test_a_resample_is_a_table_in_which_units_stand_as_often_as_they_were_drawn(
    units: list[list[int]], level: Level, chance: Any
) -> None:
    whole = units_of(table_of(units), VALUES, level).pairable
    drawn = np.array([[chance.randint(0, 3) for _ in whole.frequency]], np.float64)
    again = np.repeat(whole.counts, drawn[0].astype(int), axis=0)
    if (again.any(axis=0) if len(again) else np.zeros(1)).sum() > 1:
        (found,) = whole.alphas(drawn)
        assert found == pytest.approx(units_of(again, VALUES, level).alpha(), abs=1e-9)


@settings(max_examples=40)
@given(ratings, st.sampled_from(LEVELS))
def test_ac_is_its_definition(units: list[list[int]], level: Level) -> None:
    """Gwet (2014), equations 4.7 to 4.9, one pair of ratings after the other."""

    def far(c: int, k: int) -> float:
        if level == "nominal":
            return float(c != k)
        if level == "ordinal":
            return len(list(combinations(range(min(c, k), max(c, k) + 1), 2)))
        apart = VALUES[c] - VALUES[k]
        return float(apart if level == "interval" else apart / ((VALUES[c] + VALUES[k]) or 1)) ** 2

    def near(c: int, k: int) -> float:
        return 1 - far(c, k) / max(far(a, b) for a in range(4) for b in range(4))

    agreed = [
        np.mean([near(a, b) for a, b in combinations(unit, 2)]) for unit in units if len(unit) > 1
    ]
    shares = [np.mean([unit.count(value) / len(unit) for unit in units]) for value in range(4)]
    spread = sum(near(a, b) for a in range(4) for b in range(4)) / 12
    chance = spread * sum(share * (1 - share) for share in shares)
    found = units_of(table_of(units), VALUES, level)
    expected = (np.mean(agreed) - chance) / (1 - chance)
    assert found.acs(every(found))[0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("level", LEVELS)
def test_the_interval_covers_the_truth_as_often_as_it_says(level: Level) -> None:
    """Alpha of 20,000 units stands for the truth; of 100 samples of 150, about 95 cover it."""
    rng = np.random.default_rng(7)
    truth = rng.integers(0, 4, 20_000)
    said = np.where(rng.random((20_000, 3)) < 0.8, truth[:, None], rng.integers(0, 4, (20_000, 3)))
    counts = np.stack([(said == value).sum(axis=1) for value in range(4)], axis=1)
    whole = units_of(counts, VALUES, level).alpha()
    covered = 0
    for start in range(0, 15_000, 150):
        sample = units_of(counts[start : start + 150], VALUES, level)
        low, high = np.percentile(sample.resampled("alphas", 300, rng), [2.5, 97.5])
        covered += low <= whole <= high
    assert 88 <= covered <= 100


def test_values_too_many_for_the_library_are_grouped_only_in_the_chance_term(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(1, 100, 700)
    numbers = (truth[:, None] * rng.uniform(0.8, 1.25, (700, 3))).ravel()
    units = units_of_numbers(np.repeat(np.arange(700), 3), numbers, "ratio")
    expected = units.alpha()
    monkeypatch.setattr(module, "LIBRARY_MOST", 0)
    monkeypatch.setattr(module, "GROUPS", 300)
    assert units.alpha() == pytest.approx(expected, abs=1e-5)
    assert units.alpha() != expected


def test_one_value_leaves_nothing_to_disagree_on_and_one_coder_proves_nothing() -> None:
    for level in LEVELS:
        assert units_of(np.array([[3, 0], [2, 0]]), np.arange(1.0, 3.0), level).alpha() == 1.0
        alone = units_of(np.array([[1, 0], [0, 1]]), np.arange(1.0, 3.0), level)
        assert np.isnan(alone.alpha())
        assert np.isnan(alone.acs(every(alone))[0])
        assert not len(alone.resampled("alphas", 10, np.random.default_rng(1)))
    thirds = units_of_numbers(np.array([0, 0, 1, 1]), np.full(4, 1 / 3), "interval")
    assert thirds.pairable.alphas(np.array([[2.0, 5.0]]))[0] == 1.0
