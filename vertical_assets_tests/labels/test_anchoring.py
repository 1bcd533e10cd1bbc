"""Anchoring: a span lies where people meant it, or is refused with the reason."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.corpus.cleaning.cleaning import clean_text
from vertical_assets.labels.anchoring import BreachError, ItemText, place
from vertical_assets.spec.corpus import Clean

TEXT = "Aspirin helps; too much aspirin harms."
POLICY = Clean(numbers="digits")


def covered(given: dict[str, Any], text: str, changed: bool = False) -> str:
    start, end = place(given, ItemText(text, changed), POLICY)
    return text[start:end]


def test_places_do_in_a_text_that_nobody_changed() -> None:
    assert covered({"start": 0, "end": 7}, TEXT) == "Aspirin"
    assert covered({"start": "15", "end": "18"}, TEXT) == "too"  # as a CSV file has them
    assert covered({"start": 0, "end": 7, "quote": "Aspirin"}, TEXT) == "Aspirin"


def test_a_quote_finds_its_place_in_a_text_that_was_cleaned() -> None:
    source = "Ｇｉｖｅ  ５０mg　of   aspirin twice."
    text = clean_text(source, POLICY)[0]
    assert text != source
    span = {"start": source.index("aspirin"), "end": source.index("aspirin") + 7}
    assert covered({**span, "quote": "aspirin"}, text, changed=True) == "aspirin"
    assert covered({"start": 0, "end": 4, "quote": "Ｇｉｖｅ"}, text, changed=True) == "Give"
    assert covered({"quote": "５０mg　of"}, text, changed=True) == "50mg of"


def test_numbers_in_quotes_are_written_as_the_corpus_writes_them() -> None:
    assert covered({"quote": "100万元"}, "公司赚了1000000元。", changed=True) == "1000000元"


def test_context_tells_equal_quotes_apart() -> None:
    text = "no pain in the arm, pain in the leg"
    assert place({"quote": "pain", "prefix": "no "}, ItemText(text), POLICY) == (3, 7)
    assert place({"quote": "pain", "suffix": " in the leg"}, ItemText(text), POLICY) == (20, 24)


@pytest.mark.parametrize(
    ("given", "changed", "rule"),
    [
        ({"start": 0, "end": 99}, False, "outside_text"),
        ({"start": 5, "end": 5}, False, "outside_text"),
        ({"start": -7, "end": -1}, False, "outside_text"),
        ({"start": 1.5, "end": 3}, False, "outside_text"),
        ({"start": True, "end": 3}, False, "outside_text"),
        ({"start": 7, "end": 8, "quote": " "}, False, "blank_span"),
        ({"start": 13, "end": 14}, False, None),
        ({"start": 14, "end": 15}, False, "blank_span"),
        ({"start": 3}, False, "missing_place"),
        ({}, False, "missing_place"),
        ({"start": 0, "end": 7}, True, "changed_text"),
        ({"start": 0, "end": 7, "quote": "ibuprofen"}, False, "quote_not_found"),
        ({"start": 1, "end": 3, "quote": "h"}, False, "ambiguous_quote"),
        # In a changed text the place proves nothing: "h" may have moved onto another "h".
        ({"start": 8, "end": 9, "quote": "h"}, True, "ambiguous_quote"),
        ({"quote": "helps", "prefix": "never "}, False, "quote_not_found"),
    ],
)
def test_what_is_not_certain_is_refused(given: dict[str, Any], changed: bool, rule: str) -> None:
    if rule is None:
        assert covered(given, TEXT, changed) == ";"
        return
    with pytest.raises(BreachError) as caught:
        place(given, ItemText(TEXT, changed), POLICY)
    assert caught.value.rule == rule


@given(
    source=st.text("ab １ａ\u3000\u200b<p>&", min_size=1, max_size=30),
    ends=st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_a_span_of_any_source_text_is_found_right_or_not_at_all(
    source: str, ends: tuple[int, int]
) -> None:
    start, end = sorted(min(at, len(source)) for at in ends)
    text = clean_text(source, POLICY)[0]
    span = {"start": start, "end": end, "quote": source[start:end]}
    try:
        found = place(span, ItemText(text, changed=True), POLICY)
    except BreachError:
        return
    words = text[found[0] : found[1]]
    assert words in (span["quote"], clean_text(source[start:end], POLICY)[0])
    assert text.count(words) == 1
