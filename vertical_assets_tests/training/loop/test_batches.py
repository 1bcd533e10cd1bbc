"""Batches: every row once per epoch, none above its budget, the same line of steps each time."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.batching import batches_of_epoch, draw_by_group, in_order
from vertical_assets.training.loop.batches import Steps, Tokenized, tokenize

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


@pytest.mark.parametrize(("per_step", "steps"), [(1, 250), (2, 125)])
def test_steps_are_records_by_batch_size_times_epochs(per_step: int, steps: int) -> None:
    """800 / 8 x 2.5 (SPEC T5), where rows are equally long; half of it, by two processes."""
    assert len(Steps(np.full(800, 16), 8 * 16, 3, epochs=2.5, per_step=per_step)) == steps


def test_padding_is_masked() -> None:
    ids, mask = Tokenized([[5, 6, 7], [8]], pad_id=1).padded([1, 0])
    assert ids.tolist() == [[8, 1, 1], [5, 6, 7]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1]]


def test_texts_are_tokenized_once(tmp_path: Path) -> None:
    """The file is found by tokenizer, texts and length, and holds the very ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: number for number, word in enumerate(["[UNK]", "the", "left", "lung"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    texts = ["the left lung", "the lung", "", "lung lung"]
    plain = tokenize(texts, tokenizer, 0, 16)
    assert plain.ids.to_pylist() == [[1, 2, 3], [1, 3], [], [3, 3]]
    first = tokenize(texts, tokenizer, 0, 16, tmp_path)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    again = tokenize(texts, tokenizer, 0, 16, tmp_path)
    assert file.stat().st_mtime_ns == written
    assert plain.ids == first.ids == again.ids
    tokenize(texts, tokenizer, 0, 2, tmp_path)
    tokenize(texts[:3], tokenizer, 0, 16, tmp_path)
    tokenizer.normalizer = None
    tokenizer.add_tokens(["right"])
    tokenize(texts, tokenizer, 0, 16, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
