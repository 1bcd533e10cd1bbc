"""Windows: nothing of a long text is lost, and every span is answered for by one window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from vertical_assets.inference.answers import entity_answers, question_answers
from vertical_assets.inference.chain import bio_tags
from vertical_assets.inference.windows import windows_of
from vertical_assets.labels.targets import Span

MOST, OVERLAP = 12, 4


@pytest.fixture(scope="module")
def pieces() -> Tokenizer:
    """WordPiece as BERT has it; long words fall into single letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "aspirin", "causes", *letters]
    vocabulary = {word: code for code, word in enumerate([*words, *(f"##{c}" for c in letters)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


@given(
    text=st.lists(st.text("abcxyz", min_size=1, max_size=7), max_size=30).map(" ".join),
    question=st.none() | st.text("abc ", max_size=30),
    overlap=st.integers(0, OVERLAP),
)
def test_every_character_is_read_and_every_place_has_one_owner(
    pieces: Tokenizer, text: str, question: str | None, overlap: int
) -> None:
    questions = None if question is None else [question]
    found = windows_of([text], pieces, 0, MOST, overlap, questions)
    read = np.zeros(len(text), bool)
    for window in found.windows:
        assert len(window.ids) <= MOST
        for start, end in zip(window.starts, window.ends, strict=True):
            read[start:end] = True
    assert all(read[place] or char.isspace() for place, char in enumerate(text))
    for start in range(len(text)):
        owners = [window.owns(start, start + 1) for window in found.windows]
        assert sum(owners) == 1


def test_a_question_too_long_for_half_a_window_is_cut_and_counted(pieces: Tokenizer) -> None:
    found = windows_of(["aspirin causes x"] * 2, pieces, 0, MOST, 2, ["a b", "a b c d e f g h"])
    assert found.questions_cut == 1
    assert {window.item for window in found.windows} == {0, 1}


def test_an_entity_in_the_overlap_is_found_once_and_whole(pieces: Tokenizer) -> None:
    text = "a b c d e f g aspirin causes x y z a b c d e f"
    drug = Span(text.index("aspirin"), text.index("aspirin") + len("aspirin causes"), "drug")
    found = windows_of([text], pieces, 0, MOST, OVERLAP)
    assert len(found.windows) > 2
    tags = bio_tags(["drug"])
    logits = []
    for window in found.windows:  # a network that knows the truth, in every window that sees it
        scores = np.zeros((len(window.ids), len(tags)))
        scores[:, 0] = 1.0
        for place, start in zip(window.places, window.starts, strict=True):
            if drug.start <= start < drug.end:
                scores[place, 1 if start == drug.start else 2] = 9.0
        logits.append(scores)
    (answer,) = entity_answers(logits, found, ["drug"], None, 1)
    assert answer.target == (drug,)
    assert answer.confidence == answer.spans[0]
    assert answer.spans[0] > 0.99


def test_an_answer_comes_from_the_best_window_or_there_is_none(pieces: Tokenizer) -> None:
    text = "a b c d e f g h aspirin x y z"
    found = windows_of([text], pieces, 0, MOST, 2, ["x"])
    place = text.index("aspirin")

    def logits(of_answer: float) -> list[np.ndarray]:
        made = []
        for window in found.windows:
            scores = np.zeros((len(window.ids), 2))
            scores[0] = 2.0  # no answer
            scores[window.places[window.starts == place]] = of_answer
            made.append(scores)
        return made

    (sure,), (none,) = (question_answers(logits(v), found, "answer", 1) for v in (5.0, -5.0))
    assert sure.target == (Span(place, place + len("aspirin"), "answer"),)
    assert sure.confidence == pytest.approx(1 / (1 + np.exp(-6)))  # sigma(5 + 5 - 2 - 2)
    assert none.target == ()
    assert none.confidence is not None
    assert none.confidence > 0.9


def test_white_space_has_no_entities(pieces: Tokenizer) -> None:
    found = windows_of(["  ", ""], pieces, 0, MOST, 2)
    logits = [np.zeros((len(window.ids), 3)) for window in found.windows]
    assert [a.target for a in entity_answers(logits, found, ["drug"], None, 2)] == [(), ()]
