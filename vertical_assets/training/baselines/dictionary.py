"""The baseline of entities: spans seen in training, found again by longest match (SPEC E4).

A span's text is an entry if it was that entity more often than not where it stands in the training
texts; its type is the one it had most often. English words are compared without case and whole.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from vertical_assets.labels.targets import Span
from vertical_assets.spec import VerticalSpec


class SpanDictionary:
    """Entries (text -> type), looked for in one pass.

    Args:
        entries: texts as `_folded` writes them, with their types.
        whole_words: no span begins or ends inside a word.
    """

    def __init__(self, entries: Mapping[str, str], whole_words: bool) -> None:
        from ahocorasick_rs import AhoCorasick

        self.entries, self.whole_words = dict(entries), whole_words
        self._texts = list(self.entries)
        self._automaton = AhoCorasick(self._texts)

    @classmethod
    def learnt(
        cls, texts: Sequence[str], targets: Sequence[Sequence[Span]], spec: VerticalSpec
    ) -> "SpanDictionary":
        """A dictionary of labelled texts; reads section `language`."""
        whole_words = spec.spaced
        types: dict[str, Counter[str]] = {}
        for text, spans in zip(texts, targets, strict=True):
            for span in spans:
                entry = _folded(text[span.start : span.end])
                types.setdefault(entry, Counter())[span.label] += 1
        every = cls({entry: _first(counts) for entry, counts in types.items()}, whole_words)
        met = Counter(
            _folded(text[span.start : span.end]) for text in texts for span in every.find(text)
        )
        kept = {
            entry: type_
            for entry, type_ in every.entries.items()
            if 2 * types[entry].total() > met[entry]
        }
        return cls(kept, whole_words)

    def find(self, text: str) -> tuple[Span, ...]:
        """Entries in a text, from left to right; at a place the longest wins."""
        folded = _folded(text)
        matches = [
            (start, -end, self._texts[number])
            for number, start, end in self._automaton.find_matches_as_indexes(
                folded, overlapping=True
            )
            if self._edge(folded, start) and self._edge(folded, end)
        ]
        spans: list[Span] = []
        for start, minus_end, entry in sorted(matches):
            if not spans or start >= spans[-1].end:
                spans.append(Span(start, -minus_end, self.entries[entry]))
        return tuple(spans)

    def _edge(self, text: str, at: int) -> bool:
        """Whether a span may begin or end here."""
        inside = 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()
        return not (self.whole_words and inside)


def _folded(text: str) -> str:
    """Lower case, where it keeps every character's place."""
    lower = text.lower()
    return lower if len(lower) == len(text) else text


def _first(counts: Counter[str]) -> str:
    """The most frequent; of equals the first by name."""
    return min(counts, key=lambda label: (-counts[label], label))
