"""Token ids of texts, and the line of steps that a training walks along."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from vertical_assets.batching import batches_of_epoch, draw_by_group, packs_of_epoch
from vertical_assets.corpus.cleaning.terms import OF_NO_TERM, Terms, keyword_mask

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEXTS_AT_ONCE = 8192  # tokenized together: memory does not grow with the corpus


class Tokenized:
    """Token ids of texts, as lists of unequal length, with the special tokens.

    `ids` is an Arrow array of lists of int32: in memory, or mapped from a file. `kinds`, one number
    per token of all texts, tells which are of a domain term, where the model wants to know.
    """

    def __init__(
        self,
        ids: "Sequence[Sequence[int]] | pa.LargeListArray",
        pad_id: int,
        kinds: np.ndarray | None = None,
    ) -> None:
        if not isinstance(ids, pa.Array):
            ids = pa.array(ids, pa.large_list(pa.int32()))
        self.ids, self.pad_id = ids, pad_id
        self._offsets = ids.offsets.to_numpy()
        self._tokens = ids.values.to_numpy()
        self._kinds = kinds

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self._offsets)

    def end_to_end(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(token ids of these rows, one after another; tokens of each row)."""
        places, lengths = self._places(rows)
        return self._tokens[places], lengths

    def _places(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.asarray(rows)
        starts, lengths = self._offsets[rows], self._offsets[rows + 1] - self._offsets[rows]
        return np.repeat(starts, lengths) + positions(lengths), lengths

    def padded(self, rows: Sequence[int] | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids, attention mask), both rows x longest of these rows.

        The mask is 0 at padding, 1 at a token, 2 at a token of a term.
        """
        places, lengths = self._places(rows)
        real = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(real.shape, self.pad_id, np.int64)
        ids[real] = self._tokens[places]
        mask = real.astype(np.int64)
        mask[real] = OF_NO_TERM if self._kinds is None else self._kinds[places]
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def packed(self, rows: Sequence[int] | np.ndarray) -> tuple[torch.Tensor, ...]:
        """(ids, 1 x tokens; tokens of each row; position of each token in its row, 1 x tokens)."""
        tokens, lengths = self.end_to_end(rows)
        return (
            torch.from_numpy(tokens.astype(np.int64))[None],
            torch.from_numpy(lengths),
            torch.from_numpy(positions(lengths))[None],
        )


def positions(lengths: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... of each row, for rows laid end to end."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def tokenize(
    texts: Sequence[str],
    tokenizer: "Tokenizer",
    pad_id: int,
    most: int,
    cache: Path | None = None,
    terms: Sequence[str] = (),
) -> Tokenized:
    """Token ids of each text, cut to `most` tokens.

    Args:
        texts: tokenized in their order.
        tokenizer: of the checkpoint.
        pad_id: what batches are filled up with.
        most: tokens.
        cache: folder for a file of these ids, named by tokenizer, texts, terms and `most`; it is
            mapped into memory, and found again by a resumed run. It is written aside and renamed.
        terms: of the domain; tokens of one are marked.
    """
    tokenizer.enable_truncation(most)
    tokenizer.no_padding()
    if cache is None:
        return _opened(_tokenized(texts, tokenizer, terms), pad_id)
    name = hashlib.sha256(tokenizer.to_str().encode())
    for kind, lines in ((b"\0", texts), (b"\1", terms)):
        for line in lines:
            name.update(line.encode() + kind)
    file = cache / f"{name.hexdigest()[:16]}.tokens.arrow"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        whole = _tokenized(texts, tokenizer, terms)
        with pa.ipc.new_file(partial, whole.schema) as writer:
            writer.write(whole)
        partial.replace(file)
    with pa.ipc.open_file(pa.memory_map(str(file))) as reader:
        return _opened(reader.get_batch(0), pad_id)


def _opened(tokens: pa.RecordBatch, pad_id: int) -> Tokenized:
    kinds = tokens["kinds"].values.to_numpy() if "kinds" in tokens.schema.names else None
    return Tokenized(tokens["ids"], pad_id, kinds)


def _tokenized(
    texts: Sequence[str], tokenizer: "Tokenizer", terms: Sequence[str]
) -> pa.RecordBatch:
    """Columns `ids` and, with terms, `kinds`: a list per text."""
    types = {"ids": pa.large_list(pa.int32()), "kinds": pa.large_list(pa.int8())}
    found: dict[str, list[pa.Array]] = {
        name: [pa.array([], types[name])] for name in (("ids", "kinds") if terms else ("ids",))
    }
    find = Terms(terms).occurrences
    # The fast one leaves out the offsets, which tell what is of a term.
    encode = tokenizer.encode_batch if terms else tokenizer.encode_batch_fast
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        chosen = list(texts[start : start + TEXTS_AT_ONCE])
        encodings = encode(chosen)
        found["ids"].append(pa.array([encoding.ids for encoding in encodings], types["ids"]))
        if terms:
            kinds = [
                keyword_mask(encoding.offsets, find(text))
                for encoding, text in zip(encodings, chosen, strict=True)
            ]
            found["kinds"].append(pa.array(kinds, types["kinds"]))
    return pa.record_batch({name: pa.concat_arrays(parts) for name, parts in found.items()})


class Steps:
    """Batches of all epochs in one line, from step `start` on: what a resumed run continues with.

    With `groups`, an epoch draws at most `per_group` rows of each group, others every time. With
    `packed`, batches are of rows of any length, to be laid end to end. `per_step` batches make one
    step: those of all processes, and those that are added up.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        budget: int,
        seed: int,
        epochs: float,
        groups: np.ndarray | None = None,
        per_group: int | None = None,
        packed: bool = False,
        per_step: int = 1,
    ) -> None:
        self.lengths, self.budget, self.seed = lengths, budget, seed
        self.groups, self.per_group, self.packed = groups, per_group, packed
        self.per_step = per_step
        self.steps_per_epoch = len(self.epoch(0)) / per_step
        self.total = max(1, round(self.steps_per_epoch * epochs))
        self.start = 0

    def __len__(self) -> int:
        return self.total

    def epoch(self, number: int) -> list[np.ndarray]:
        """Row numbers of the batches of one epoch."""
        if self.packed:
            return packs_of_epoch(self.lengths, self.budget, self.seed, number)
        drawn = None
        if self.groups is not None and self.per_group is not None:
            drawn = draw_by_group(self.groups, self.per_group, self.seed, number)
        return batches_of_epoch(self.lengths, self.budget, self.seed, number, drawn)

    def rows(self) -> Iterator[np.ndarray]:
        """Row numbers of the batches from `start` on."""
        line = (rows for number in count() for rows in self.epoch(number))
        return islice(line, self.start * self.per_step, self.total * self.per_step)
