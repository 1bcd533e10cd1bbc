"""Edits of a text: what is marked in it stays as it is, wherever it comes to stand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.corpus.cleaning.segmentation import Segmenter
from vertical_assets.features.edits import Edit, apply, deleted, free_words, swapped
from vertical_assets.labels.targets import Span

SEGMENTER = Segmenter(["heart attack", "人工智能"])


@st.composite
def marked_and_edited(draw: Any) -> tuple[str, list[Span], list[Edit]]:
    """A text of pieces; some are marked, of the others some are replaced by what has any length."""
    pieces = draw(st.lists(st.text("ab 心肌\n", max_size=4), max_size=12))
    spans: list[Span] = []
    edits: list[Edit] = []
    start = 0
    for piece in pieces:
        end = start + len(piece)
        what = draw(st.sampled_from(["marked", "edited", "left"]))
        if what == "marked" and piece:
            spans.append(Span(start, end, "disease"))
        if what == "edited" and piece:
            edits.append(Edit(start, end, draw(st.text("xy梗", max_size=6))))
        start = end
    return "".join(pieces), spans, edits


@given(marked_and_edited())
def test_the_covered_text_of_every_span_is_unchanged(
    case: tuple[str, list[Span], list[Edit]],
) -> None:
    text, spans, edits = case
    changed, moved = apply(text, spans, edits)
    assert [changed[s.start : s.end] for s in moved] == [text[s.start : s.end] for s in spans]
    assert [s.label for s in moved] == [s.label for s in spans]
    assert len(changed) == len(text) + sum(len(e.text) - (e.end - e.start) for e in edits)


def test_spans_may_nest_and_touch() -> None:
    text, spans = "big lung cancer", [Span(4, 15, "disease"), Span(4, 8, "organ")]
    changed, moved = apply(text, spans, [Edit(0, 3, "enlarged")])
    assert changed == "enlarged lung cancer"
    assert [changed[s.start : s.end] for s in moved] == ["lung cancer", "lung"]


@pytest.mark.parametrize(
    ("edits", "says"),
    [
        ([Edit(0, 3, "x"), Edit(2, 5, "y")], "overlap"),
        ([Edit(6, 9, "x")], "touches"),
    ],
)
def test_edits_that_would_tear_something_are_refused(edits: list[Edit], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        apply("acute heart attack", [Span(6, 18, "disease")], edits)


def test_spans_terms_numbers_signs_and_negations_are_not_free() -> None:
    text = "Not a heart attack, 2 mg aspirin helped, it didn't hurt."
    aspirin = text.index("aspirin")
    free = free_words(text, [Span(aspirin, aspirin + 7, "drug")], SEGMENTER)
    assert [word.text for word in free] == ["a", "mg", "helped", "it", "hurt"]
    assert all(text[word.start : word.end] == word.text for word in free)
    chinese = free_words("人工智能不难，很有意思", [], SEGMENTER)
    assert "人工智能" not in {word.text for word in chinese}
    assert "不" not in {word.text for word in chinese}


@given(
    st.lists(st.sampled_from(["one", "heart attack", "two", ",", "词语"]), min_size=1), st.data()
)
def test_deleted_words_leave_no_double_space(pieces: list[str], data: st.DataObject) -> None:
    text = " ".join(pieces)
    free = free_words(text, [], SEGMENTER)
    gone = data.draw(st.sets(st.sampled_from(free))) if free else set()
    changed, _ = apply(text, [], deleted(gone, text, []))
    assert "  " not in changed
    starts = [place for place, _ in enumerate(text) if place == 0 or text[place - 1] == " "]
    kept = [
        word
        for start, word in zip(starts, text.split(" "), strict=True)
        if start not in {word.start for word in gone}
    ]
    assert changed.split() == kept


def test_swapped_words_change_places() -> None:
    text = "the small dog barks"
    free = free_words(text, [], SEGMENTER)
    changed, _ = apply(text, [], swapped(free[0], free[3]))
    assert changed == "barks small dog the"
