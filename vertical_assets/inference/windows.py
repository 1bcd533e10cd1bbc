"""Windows: texts as token ids of at most so many tokens, and where each token stands in its text.

A longer text becomes several windows that overlap, so that nothing of it is lost; each window
answers for its own part, which ends in the middle of the overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from vertical_assets.corpus.cleaning.terms import Terms, keyword_mask

NO_TERMS = Terms(())


@dataclass(frozen=True)
class Window:
    """One input of a network.

    Attributes:
        item: number of the text it is of.
        ids: token ids, with the special tokens and the question's.
        types: segment of each token: 0, or 1 for the text behind a question.
        places: positions in `ids` of the tokens of the text itself.
        starts, ends: characters of the text under these tokens, end exclusive.
        own: characters that this window answers for, end exclusive.
        kinds: 2 at tokens of a domain term, 1 elsewhere; None where the network does not ask.
    """

    item: int
    ids: list[int]
    types: list[int]
    places: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    own: tuple[int, int]
    kinds: np.ndarray | None = None

    def owns(self, start: int, end: int) -> bool:
        """Whether the middle of a span of characters lies in the window's own part."""
        return self.own[0] <= (start + end) // 2 < self.own[1]


@dataclass(frozen=True)
class Windows:
    """Windows of texts, in the order of the texts; what had to be cut off is counted."""

    windows: list[Window]
    pad_id: int
    questions_cut: int = 0

    @property
    def lengths(self) -> np.ndarray:
        """Tokens per window."""
        return np.array([len(window.ids) for window in self.windows], np.int64)

    @property
    def items(self) -> np.ndarray:
        """Number of the text of each window."""
        return np.array([window.item for window in self.windows], np.int64)

    def padded(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ids, attention mask, types), each rows x longest of these rows."""
        chosen = [self.windows[row] for row in rows]
        width = max(len(window.ids) for window in chosen)
        ids = np.full((len(chosen), width), self.pad_id, np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, window in enumerate(chosen):
            ids[row, : len(window.ids)] = window.ids
            types[row, : len(window.ids)] = window.types
            mask[row, : len(window.ids)] = 1 if window.kinds is None else window.kinds
        return ids, mask, types


def windows_of(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    pad_id: int,
    most: int,
    overlap: int,
    questions: Sequence[str] | None = None,
    terms: Terms = NO_TERMS,
) -> Windows:
    """Windows of at most `most` tokens; neighbours share `overlap` tokens.

    Args:
        texts: whole texts.
        tokenizer: a fast one; its truncation and padding are set anew.
        pad_id: fills short rows.
        most: tokens of a window, special tokens included.
        overlap: shared tokens; at most half of what a window holds of the text.
        questions: one per text, put before it in every window. A question takes half of a window
            at most: a longer one is cut, and counted.
        terms: of the domain, which the windows' `kinds` tell.
    """
    tokenizer.no_padding()
    cut = 0
    if questions is not None:
        questions, cut = _shortened(questions, tokenizer, most // 2)
        specials = tokenizer.num_special_tokens_to_add(True)
        overlap = max(0, min(overlap, (most - most // 2 - specials) // 2))
    tokenizer.enable_truncation(
        most, stride=overlap, strategy="longest_first" if questions is None else "only_second"
    )
    # `encode_batch_fast` would leave the offsets out.
    encodings = tokenizer.encode_batch(
        list(texts) if questions is None else list(zip(questions, texts, strict=True))
    )
    windows: list[Window] = []
    for item, encoding in enumerate(encodings):
        parts = [encoding, *encoding.overflowing]
        both = (texts[item],) if questions is None else (questions[item], texts[item])
        windows += _parted(item, both, parts, terms)
    return Windows(windows, pad_id, cut)


def single_windows(
    texts: Sequence[str], tokenizer: Tokenizer, pad_id: int, most: int, terms: Terms = NO_TERMS
) -> Windows:
    """One window per text, which is cut to `most` tokens: for what is said of a text as a whole."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(most)
    # The fast one leaves out the offsets, which tell what is of a term.
    encode = tokenizer.encode_batch if terms else tokenizer.encode_batch_fast
    nothing = np.zeros(0, np.int64)
    return Windows(
        [
            Window(
                item,
                encoding.ids,
                encoding.type_ids,
                nothing,
                nothing,
                nothing,
                (0, 0),
                _kinds(encoding, (texts[item],), terms),
            )
            for item, encoding in enumerate(encode(list(texts)))
        ],
        pad_id,
    )


def _shortened(questions: Sequence[str], tokenizer: Tokenizer, most: int) -> tuple[list[str], int]:
    tokenizer.no_truncation()
    kept, cut = [], 0
    for question, encoding in zip(
        questions,
        tokenizer.encode_batch(list(questions), add_special_tokens=False),
        strict=True,
    ):
        if len(encoding.ids) > most:
            question, cut = question[: encoding.offsets[most - 1][1]], cut + 1
        kept.append(question)
    return kept, cut


def _kinds(part: Any, texts: Sequence[str], terms: Terms) -> np.ndarray | None:
    """Of each token of an encoding of one text, or of a question and a text."""
    if not terms:
        return None
    kinds = np.ones(len(part.ids), np.int64)
    for number, text in enumerate(texts):
        places = [place for place, of in enumerate(part.sequence_ids) if of == number]
        offsets = [part.offsets[place] for place in places]
        kinds[places] = keyword_mask(offsets, terms.occurrences(text))
    return kinds


def _parted(item: int, texts: Sequence[str], parts: Sequence[Any], terms: Terms) -> list[Window]:
    """Windows of one text, the last of `texts`; borders between neighbours lie in the middle of
    what they share.
    """
    text, sequence = texts[-1], len(texts) - 1
    found = []
    for part in parts:
        places = np.flatnonzero([number == sequence for number in part.sequence_ids])
        offsets = np.array(part.offsets, np.int64).reshape(-1, 2)[places]
        found.append((part, places, *_trimmed(text, offsets)))
    borders = [0]
    for (*_, ends), (_, _, starts, _) in pairwise(found):
        borders.append(int(starts[0] + ends[-1]) // 2)
    borders.append(len(text) + 1)
    return [
        Window(
            item,
            part.ids,
            part.type_ids,
            places,
            starts,
            ends,
            (low, high),
            _kinds(part, texts, terms),
        )
        for (part, places, starts, ends), low, high in zip(
            found, borders, borders[1:], strict=False
        )
    ]


def _trimmed(text: str, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Characters of tokens without the spaces that some tokenizers put at a token's beginning."""
    starts, ends = offsets[:, 0].copy(), offsets[:, 1].copy()
    for number, (start, end) in enumerate(offsets):
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        starts[number], ends[number] = start, end
    return starts, ends
