"""Diversity: what each source contributes, counted while batches pass."""

from collections.abc import Mapping

import pytest

from vertical_assets.corpus.validity.diversity import Diversity
from vertical_assets_tests.corpus.validity.test_rules import raw


def measured(*changes: Mapping[str, object], cut: int = 100) -> Diversity:
    diversity = Diversity()
    batch = raw(*changes)
    batches = [batch.slice(start, cut) for start in range(0, len(batch), cut)]
    assert list(diversity.counted(batches)) == batches
    return diversity


def test_rows_characters_and_shares_by_source_kind_and_language() -> None:
    rows = [{"source": "a"}, {"source": "b", "text": "好评" * 9}, {"source": "a", "language": "de"}]
    for cut in (1, 2, 100):
        assert [tuple(row.values()) for row in measured(*rows, cut=cut).table()] == [
            ("a", "user", "de", 1, 9, 0.25),
            ("a", "user", "en", 1, 9, 0.25),
            ("b", "user", "en", 1, 18, 0.5),
        ]


def test_equal_sources_count_in_full_and_a_tiny_one_hardly() -> None:
    equal = measured(*({"source": name} for name in "abcd"))
    assert equal.effective_sources() == pytest.approx(4)
    assert equal.evenness() == pytest.approx(1)
    skewed = measured({"source": "a", "text": "x" * 999}, {"source": "b", "text": "x"})
    # exp(-(0.999 ln 0.999 + 0.001 ln 0.001))
    assert skewed.effective_sources() == pytest.approx(1.00794, abs=1e-5)
    assert skewed.evenness() == pytest.approx(0.01141, abs=1e-5)


def test_one_source_or_none_is_not_uneven() -> None:
    assert measured({}).evenness() == Diversity().evenness() == 1.0
