"""Baselines: what can be had without a network, by kind of task."""

from typing import cast

import numpy as np
import pytest

from vertical_assets.evaluation.scores import span_scores
from vertical_assets.inference.answers import label_answers
from vertical_assets.labels.splits import Items
from vertical_assets.labels.targets import Span
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.baselines.baseline import (
    baseline_predictions,
    baseline_probabilities,
)
from vertical_assets.training.baselines.dictionary import SpanDictionary
from vertical_assets.training.baselines.overlap import phrases
from vertical_assets_tests.bc5cdr import bc5cdr, documents
from vertical_assets_tests.labels.test_kinds import spec_of

ENGLISH = VerticalSpec(**bc5cdr())


def bc5cdr_items(split: str, most: int) -> Items:
    rows = documents(split, most)
    spans = [tuple(Span(s["start"], s["end"], s["label"]) for s in row["entities"]) for row in rows]
    return Items([row["text"] for row in rows], spans, [row["id"] for row in rows])


def test_a_dictionary_of_bc5cdr_finds_what_it_has_seen() -> None:
    train, test = bc5cdr_items("train", 1500), bc5cdr_items("test", 500)
    said, confidence = baseline_predictions(train, test.texts, None, ENGLISH)
    found = cast("list[tuple[Span, ...]]", said)
    scores = {s.metric: s.value for s in span_scores(test.labels, found, ENGLISH.labels)}
    # Precise, and blind for what is new.
    assert scores["precision_micro"] > 0.7
    assert 0.3 < scores["recall_micro"] < scores["precision_micro"]
    assert set(confidence) == {None}


def test_the_longest_entry_wins_and_words_stay_whole() -> None:
    texts = ["heart failure hurts", "a heart beats", "she has no pain"]
    spans = [(Span(0, 13, "Sign"),), (Span(2, 7, "Organ"),), (Span(11, 15, "Sign"),)]
    found = SpanDictionary.learnt(texts, spans, ENGLISH)
    text = "Heart failure; the heart paints pain."
    assert found.find(text) == (Span(0, 13, "Sign"), Span(19, 24, "Organ"), Span(32, 36, "Sign"))


def test_words_that_mostly_are_no_entity_are_no_entry() -> None:
    texts = ["lead is a metal", "they lead on", "we lead now", "zinc is a metal"]
    spans: list[tuple[Span, ...]] = [(Span(0, 4, "Drug"),), (), (), (Span(0, 4, "Drug"),)]
    assert SpanDictionary.learnt(texts, spans, ENGLISH).entries == {"zinc": "Drug"}


def test_chinese_entries_need_no_spaces() -> None:
    spec = spec_of("entities", language="zh")
    found = SpanDictionary.learnt(["阿司匹林止痛"], [(Span(0, 4, "Drug"),)], spec)
    assert found.find("服用阿司匹林后") == (Span(2, 6, "Drug"),)


WORDS = {"price": "cheap price money", "taste": "sweet taste sugar", "service": "waiter service"}


LABEL_SETS = [("price",), ("taste",), ("price", "taste"), ()] * 12
SET_TEXTS = [" ".join(["the", *(WORDS[label] for label in each)]) for each in LABEL_SETS]


def test_one_regression_a_label() -> None:
    spec = spec_of("multi_label")
    train = Items(SET_TEXTS, LABEL_SETS, SET_TEXTS)
    answers = label_answers(baseline_probabilities(train, SET_TEXTS[:4], spec), spec.labels)
    assert [answer.target for answer in answers] == LABEL_SETS[:4]
    assert all(0.5 <= (answer.confidence or 0) <= 1 for answer in answers)


def test_ridge_follows_the_words_and_stays_in_range() -> None:
    spec = spec_of("regression")
    values = [1.0, 5.0] * 20
    texts = ["bad bad" if value == 1 else "very good good" for value in values]
    texts = [f"{text} {n % 3}" for n, text in enumerate(texts)]
    found, confidence = baseline_predictions(Items(texts, values, texts), texts[:2], None, spec)
    low, high = (float(np.asarray(value)) for value in found)
    assert 1 <= low < 1.5
    assert 4.5 < high <= 5
    assert confidence == [None, None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Take it daily, with water. Then rest!", ["Take it daily", "with water", "Then rest"]),
        ("每天三次，饭后服用。", ["每天三次", "饭后服用"]),
        ("It costs 1,000.50 euro", ["It costs 1,000.50 euro"]),
        ("...", ["..."]),
    ],
)
def test_phrases(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in phrases(text)] == expected


def test_the_phrase_most_like_the_question_is_the_answer() -> None:
    spec = spec_of("question_answering")
    text = "Aspirin thins the blood. Take two tablets daily. Store it cool."
    train = Items([text], [(Span(0, 7, "answer"),)], ["a"], ["What thins the blood?"])
    found, _ = baseline_predictions(
        train, [text, text], ["How many tablets daily?", "Who is the king of Norway"], spec
    )
    assert found[0] == (Span(25, 47, "answer"),)
    assert found[1] != ()  # training has only questions with answers
    unanswered = Items([text], [()], ["a"], ["Why?"])
    found, similarity = baseline_predictions(unanswered, [text], ["Who is Norwegian"], spec)
    assert (found, similarity) == ([()], [0.0])
