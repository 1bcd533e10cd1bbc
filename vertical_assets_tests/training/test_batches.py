"""Batches: every row once per epoch, none above its budget, the same line of steps each time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.batching import batches_of_epoch, draw_by_group, in_order
from vertical_assets.training.batches import Steps, Tokenized

lengths_strategy = st.lists(st.integers(1, 60), min_size=1, max_size=300).map(np.array)


@given(lengths=lengths_strategy, budget=st.integers(60, 600), epoch=st.integers(0, 3))
def test_each_row_once_and_within_the_budget(lengths: np.ndarray, budget: int, epoch: int) -> None:
    for batches in (batches_of_epoch(lengths, budget, 7, epoch), in_order(lengths, budget)):
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        assert all(len(rows) * lengths[rows].max() <= budget for rows in batches)


def test_little_is_padding() -> None:
    """Far less than the padding of a naive loop on the same lengths."""
    lengths = np.random.default_rng(1).geometric(1 / 20, 5000).clip(2, 128)
    batches = batches_of_epoch(lengths, 1024, 1, 0)
    padded = sum(len(rows) * lengths[rows].max() for rows in batches)
    naive = sum(32 * lengths[start : start + 32].max() for start in range(0, 5000, 32))
    assert padded < 1.1 * lengths.sum()
    assert naive > 3 * lengths.sum()


def test_epochs_differ_and_runs_do_not() -> None:
    lengths = np.arange(1, 200)
    first, second = (batches_of_epoch(lengths, 400, 1, epoch) for epoch in (0, 1))
    assert [rows.tolist() for rows in first] != [rows.tolist() for rows in second]
    again = batches_of_epoch(lengths, 400, 1, 0)
    assert [rows.tolist() for rows in first] == [rows.tolist() for rows in again]


@given(
    groups=st.lists(st.integers(0, 8), min_size=1, max_size=80).map(np.array),
    most=st.integers(1, 10),
)
def test_an_epoch_draws_so_many_of_each_group(groups: np.ndarray, most: int) -> None:
    rows = draw_by_group(groups, most, 1, 0)
    assert len(set(rows.tolist())) == len(rows)
    for group in set(groups.tolist()):
        assert (groups[rows] == group).sum() == min(most, (groups == group).sum())


def test_every_epoch_draws_others() -> None:
    groups = np.zeros(100, int)
    first, second = (draw_by_group(groups, 10, 1, epoch) for epoch in (0, 1))
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize("start", [0, 1, 17, 40])
def test_a_resumed_line_of_steps_goes_on_where_it_stopped(start: int) -> None:
    whole = Steps(np.arange(1, 200), 400, 3, epochs=2.5)
    resumed = Steps(np.arange(1, 200), 400, 3, epochs=2.5)
    resumed.start = start
    line = [rows.tolist() for rows in whole.rows()]
    assert len(line) == len(whole) == whole.total
    assert [rows.tolist() for rows in resumed.rows()] == line[start:]


def test_padding_is_masked() -> None:
    ids, mask = Tokenized([[5, 6, 7], [8]], pad_id=1).padded([1, 0])
    assert ids.tolist() == [[8, 1, 1], [5, 6, 7]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1]]
