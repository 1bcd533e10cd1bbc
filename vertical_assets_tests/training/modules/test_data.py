"""Targets of tokens: spans become BIO tags and back; what can't be learned exactly is counted."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from vertical_assets.inference.answers import entity_answers
from vertical_assets.inference.chain import bio_tags
from vertical_assets.inference.windows import windows_of
from vertical_assets.labels.targets import Span
from vertical_assets.training.modules.data import Inputs, labelled

LABELS = ["drug", "disease"]


def inputs(texts: list[str], questions: list[str] | None = None) -> Inputs:
    """Windows of 10 tokens over words of the letters a to e, cut into single letters."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcde", *(f"##{c}" for c in "abcde")]
    vocabulary = {word: code for code, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return Inputs(windows_of(texts, tokenizer, 0, 10, 2, questions))


@given(
    words=st.lists(st.text("abcde", min_size=1, max_size=3), min_size=1, max_size=12),
    marks=st.lists(st.sampled_from(["", *LABELS]), min_size=12, max_size=12),
)
def test_spans_survive_tags_and_windows(words: list[str], marks: list[str]) -> None:
    text, spans, place = " ".join(words), [], 0
    for word, mark in zip(words, marks, strict=False):
        if mark:
            spans.append(Span(place, place + len(word), mark))
        place += len(word) + 1
    found = inputs([text])
    learned = labelled("entities", LABELS, [tuple(spans)], found)
    tags = learned.ragged["tags"][0]
    logits = []
    for window, row in zip(found.windows.windows, tags, strict=True):
        scores = np.zeros((len(window.ids), len(bio_tags(LABELS))))
        scores[window.places, row] = 5.0
        logits.append(scores)
    (answer,) = entity_answers(logits, found.windows, LABELS, None, 1)
    assert answer.target == tuple(spans)
    assert learned.counts["spans_across_tokens_or_windows"] == 0


def test_what_tags_cannot_say_is_counted() -> None:
    text = "abc de abc"
    nested = (Span(0, 6, "disease"), Span(4, 6, "drug"))
    inside_a_token = (Span(0, 2, "drug"),)  # an unknown word is one token
    learned = labelled("entities", LABELS, [nested, inside_a_token], inputs([text, "xyz"]))
    assert learned.counts == {
        "spans": 2,
        "spans_inside_others": 1,
        "spans_across_tokens_or_windows": 1,
    }
    across = labelled("entities", LABELS, [(Span(0, 13, "drug"),)], inputs(["abcde abcde abcde"]))
    assert across.counts["spans_across_tokens_or_windows"] == 1


def test_an_answer_is_learned_in_the_windows_that_hold_it() -> None:
    text = "abc de abc de abc"
    answer = (Span(11, 13, "answer"),)
    found = inputs([text, text], ["a", "b"])
    learned = labelled("question_answering", ["answer"], [answer, ()], found)
    batch = learned.batch(np.arange(len(found.windows.windows)))
    holding = 0
    for row, window in enumerate(found.windows.windows):
        start, end = int(batch["starts"][row]), int(batch["ends"][row])
        if start:
            at = list(window.places)
            assert (window.starts[at.index(start)], window.ends[at.index(end)]) == (11, 13)
            holding += 1
        assert batch["candidates"][row].sum() == len(window.places) + 1
        assert bool(batch["candidates"][row, start])
    assert holding >= 1
    assert learned.counts == {
        "questions_with_answer": 1,
        "answers_in_no_window": 0,
        "questions_cut": 0,
    }
