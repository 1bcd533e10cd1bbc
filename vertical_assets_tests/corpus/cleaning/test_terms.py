"""Terms in texts, and the tokens that are of one."""

from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.corpus.cleaning.terms import Terms, keyword_mask


def test_terms_are_the_longest_and_whole_words() -> None:
    terms = Terms(["维生素", "维生素B1", "ECG", " "])
    assert terms.occurrences("维生素B1和维生素B12、ecg, ECGs") == [(0, 5), (6, 9), (13, 16)]
    assert not Terms([" "])


def test_a_token_that_shares_a_character_with_a_term_is_of_it() -> None:
    """Tokens as a tokenizer cuts them: special ones are empty, some begin with a space."""
    offsets = [(0, 0), (0, 3), (3, 8), (8, 12), (12, 13), (0, 0)]
    assert keyword_mask(offsets, [(4, 8), (9, 12)]).tolist() == [1, 1, 2, 2, 1, 1]
    assert keyword_mask(offsets, []).tolist() == [1] * 6
    assert keyword_mask([], [(0, 1)]).tolist() == []


@given(
    cuts=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    terms=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 6)), max_size=8),
)
def test_the_mask_is_that_of_every_character_of_every_term(
    cuts: list[int], terms: list[tuple[int, int]]
) -> None:
    offsets, end = [], 0
    for size in cuts:
        offsets.append((end, end := end + size))
    spans, end = [], 0
    for gap, size in terms:
        spans.append((end + gap, end := end + gap + size))
    inside = {place for start, end in spans for place in range(start, end)}
    expected = [2 if inside & set(range(*token)) else 1 for token in offsets]
    assert keyword_mask(offsets, spans).tolist() == expected
