"""Private releases: the noise is what theory says, and one author moves little.

Noise can't be seeded. Bounds are set so that a test fails by chance less than once in 10^9 runs.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from vertical_assets.corpus.authors.privacy_budget import BudgetExhaustedError, Ledger
from vertical_assets.corpus.authors.private_release import release_counts, release_mean
from vertical_assets.store.contracts import PRIVATE_RELEASE

SOURCES = ("forum", "news")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl", epsilon=1e6)


def documents(rows: Sequence[tuple[str | None, str | None, float | None]]) -> pa.Table:
    """Author, source, characters."""
    authors, sources, characters = zip(*rows, strict=True)
    return pa.table(
        {
            "doc_id": [f"d{number:05}" for number in range(len(rows))],
            "author_id": pa.array(authors, pa.string()),
            "source": pa.array(sources, pa.string()),
            "characters": pa.array(characters, pa.float64()),
        }
    )


CORPUS = documents(
    [(f"a{n}", "forum" if n % 3 else "news", float(20 + n % 60)) for n in range(3000)]
    + [(None, None, 50.0)] * 100
)


def noise(
    ledger: Ledger, epsilon: float, releases: int, max_documents: int = 1
) -> NDArray[np.float64]:
    """Errors of the count of no documents: as many groups, each with its own noise."""
    groups = [f"g{number}" for number in range(releases)]
    nobody = CORPUS.slice(0, 0)
    table = release_counts(nobody, ledger, "v", epsilon, "source", groups, max_documents)
    return table["value"].to_numpy()


@pytest.mark.parametrize(("epsilon", "max_documents"), [(0.5, 1), (0.1, 1), (1.0, 4)])
def test_noise_is_laplace_of_scale_sensitivity_by_epsilon(
    ledger: Ledger, epsilon: float, max_documents: int
) -> None:
    size = 6_000
    errors = noise(ledger, epsilon, size, max_documents)
    # Discrete Laplace: P(x) ~ p^|x| with p = exp(-1 / scale); mean and variance of |x| follow.
    p = math.exp(-epsilon / max_documents)
    mean = 2 * p / (1 - p**2)
    variance = 2 * p / (1 - p) ** 2 - mean**2
    # Beyond 7 standard errors: 3e-12 by the central limit theorem.
    assert np.abs(errors).mean() == pytest.approx(mean, abs=7 * math.sqrt(variance / size))
    assert errors.mean() == pytest.approx(0, abs=7 * math.sqrt(2 * p / (1 - p) ** 2 / size))


def test_accuracy_is_met_95_times_in_100_and_follows_from_the_scale(ledger: Ledger) -> None:
    size = 6_000
    groups = [f"g{number}" for number in range(size)]
    table = release_counts(CORPUS.slice(0, 0), ledger, "v", 0.2, "source", groups, 2)
    accuracy = table["accuracy"][0].as_py()
    # P(|x| >= a) = 2 p^a / (1 + p) = 5 %, with p = exp(-1 / scale) and scale = 2 / 0.2.
    assert accuracy == pytest.approx(10 * math.log(2 / (0.05 * (1 + math.exp(-0.1)))))
    within = float((np.abs(table["value"].to_numpy()) < accuracy).mean())
    assert within >= 0.95 - 7 * math.sqrt(0.95 * 0.05 / size)


def test_groups_that_are_not_listed_count_together(ledger: Ledger) -> None:
    table = release_counts(CORPUS, ledger, "v", 50.0, "source", SOURCES)
    assert table.schema == PRIVATE_RELEASE
    # At epsilon 50 a count is exact but once in 10^21.
    assert dict(zip(table["group"].to_pylist(), table["value"].to_pylist(), strict=True)) == {
        "forum": 2000,
        "news": 1000,
        "*": 100,
    }
    everything = release_counts(CORPUS, ledger, "v", 50.0)
    assert everything["value"].to_pylist() == [3100]


def test_one_author_counts_a_bounded_number_of_times(ledger: Ledger) -> None:
    writer = documents([("writer", "forum", 9.0)] * 500 + [("other", "forum", 1.0)])
    for most in (1, 3):
        counted = release_counts(writer, ledger, "v", 50.0 * most, "source", SOURCES, most)
        assert counted["value"].to_pylist() == [most + 1, 0, 0]
    mean = release_mean(writer, "characters", (0, 10), ledger, "v", 400.0)
    assert mean["value"].to_pylist() == pytest.approx([5.0], abs=0.5)


def test_means_are_within_their_accuracy(ledger: Ledger) -> None:
    table = release_mean(CORPUS, "characters", (0, 60), ledger, "v", 20.0, "source", SOURCES)
    for row in table.to_pylist()[:2]:
        mine = CORPUS.filter(pc.equal(CORPUS["source"], row["group"]))["characters"].to_numpy()
        assert row["accuracy"] < 0.05
        # Sum and count are each off by 7 times their bound of 97.5 % with probability 0.025^7.
        assert abs(row["value"] - np.minimum(mine, 60).mean()) < 7 * row["accuracy"]


def test_values_beyond_the_bounds_and_missing_ones_have_no_more_weight(ledger: Ledger) -> None:
    rows = [(f"a{n}", "forum", value) for n, value in enumerate([1e300, -5.0, None, math.nan])]
    mean = release_mean(documents(rows), "characters", (0, 10), ledger, "v", 400.0)
    assert mean["value"].to_pylist() == pytest.approx([5.0], abs=0.5)


def test_the_mean_of_nobody_says_that_it_says_nothing(ledger: Ledger) -> None:
    row = release_mean(CORPUS.slice(0, 0), "characters", (10, 60), ledger, "v", 0.1).to_pylist()[0]
    assert 10 <= row["value"] <= 60
    assert row["accuracy"] == 50


def test_a_rebuild_gives_the_same_bytes_and_spends_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl", epsilon=1.0)

    def build() -> pa.Table:
        counts = release_counts(CORPUS, ledger, "v1", 0.5, "source", SOURCES)
        means = release_mean(CORPUS, "characters", (0, 60), ledger, "v1", 0.5)
        return pa.concat_tables([counts, means])

    assert build().equals(build())
    with pytest.raises(BudgetExhaustedError, match="0 of 1 is left"):
        release_counts(CORPUS, ledger, "v2", 0.5, "source", SOURCES)


def test_impossible_questions_are_refused_before_anything_is_spent(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="first must be less"):
        release_mean(CORPUS, "characters", (5, 5), ledger, "v", 1.0)
    with pytest.raises(ValueError, match="name the column and its values"):
        release_counts(CORPUS, ledger, "v", 1.0, "source")
    with pytest.raises(ValueError, match="greater than 0"):
        release_counts(CORPUS, ledger, "v", 0.0)
    assert not ledger.path.exists()
