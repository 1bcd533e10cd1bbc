"""Edits of a text that leave what is marked in it as it is.

A changed text of another length has its spans elsewhere: all edits go through `apply`, which moves
them. No edit may touch a span, so that the covered text of every span stays the same.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vertical_assets.corpus.cleaning.segmentation import Segmenter
from vertical_assets.labels.targets import Span

# A text without its negation says something else: these words stay where they are.
NEGATIONS = frozenset(
    {"no", "not", "nor", "none", "never", "neither", "without", "cannot", "nothing", "nobody"}
    | {"不", "没", "没有", "无", "未", "别", "非", "不是", "不能", "不会", "不要", "不好", "不行"}
)
_LETTERS = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")


@dataclass(frozen=True, order=True)
class Edit:
    """Characters `start` to `end` (exclusive) are replaced by `text`."""

    start: int
    end: int
    text: str


def apply(text: str, spans: Iterable[Span], edits: Iterable[Edit]) -> tuple[str, tuple[Span, ...]]:
    """The edited text, and its spans in their new places.

    Raises:
        ValueError: two edits overlap, or one touches a span.
    """
    ordered = sorted(edits)
    marked = tuple(spans)
    for first, second in pairwise(ordered):
        if second.start < first.end:
            raise ValueError(f"{first} and {second} overlap")
    for edit in ordered:
        for span in marked:
            if edit.start < span.end and span.start < edit.end:
                raise ValueError(f"{edit} touches {span}")
    pieces: list[str] = []
    moves: list[tuple[int, int]] = []  # from this place on, characters move by so many
    done = moved = 0
    for edit in ordered:
        pieces += [text[done : edit.start], edit.text]
        done = edit.end
        moved += len(edit.text) - (edit.end - edit.start)
        moves.append((edit.end, moved))

    def place(before: int) -> int:
        return before + max((move for move in moves if move[0] <= before), default=(0, 0))[1]

    return "".join([*pieces, text[done:]]), tuple(
        Span(place(span.start), place(span.start) + span.end - span.start, span.label)
        for span in marked
    )


@dataclass(frozen=True)
class Word:
    """A word that may be changed, and its characters `start` to `end` (exclusive)."""

    start: int
    end: int
    text: str


def free_words(text: str, spans: Sequence[Span], segmenter: Segmenter) -> list[Word]:
    """Words of letters that are in no span, no domain term and no negation, in order."""
    kept = [(span.start, span.end) for span in spans] + segmenter.occurrences(text)
    words: list[Word] = []
    start = 0
    for word in segmenter.segment(text):
        end = start + len(word)
        if (
            _LETTERS.fullmatch(word)
            and word.lower() not in NEGATIONS
            and not word.lower().endswith(("n't", "n’t"))
            and not any(start < last and first < end for first, last in kept)
        ):
            words.append(Word(start, end, word))
        start = end
    return words


def swapped(first: Word, second: Word) -> list[Edit]:
    """Two words change places."""
    return [
        Edit(first.start, first.end, second.text),
        Edit(second.start, second.end, first.text),
    ]


def deleted(words: Iterable[Word], text: str, spans: Sequence[Span]) -> list[Edit]:
    """Words go, each with one space beside it where there is one outside of the spans."""

    def space(place: int) -> bool:
        return text[place : place + 1] == " " and not any(
            span.start <= place < span.end for span in spans
        )

    edits: list[Edit] = []
    done = 0
    for word in sorted(words, key=lambda word: word.start):
        start, end = word.start, word.end
        if (start == 0 or text[start - 1] == " ") and space(end):
            end += 1
        elif end == len(text) and start and space(start - 1):
            start = max(start - 1, done)  # the word before may have taken it
        edits.append(Edit(start, end, ""))
        done = end
    return edits
