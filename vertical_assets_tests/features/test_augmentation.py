"""Augmentation: only training items are augmented, labels and spans survive (SPEC D11, D12)."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vertical_assets.corpus.cleaning.segmentation import Segmenter
from vertical_assets.features.augmentation import (
    HELD_OUT_EXACT,
    HELD_OUT_NEAR,
    UNTRANSLATED,
    Words,
    augment,
    strays,
    variants,
    with_augmented,
)
from vertical_assets.features.nearness import matches
from vertical_assets.labels.splits import TRAIN, find_leakage, items_of
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import LABELED
from vertical_assets_tests.conftest import tiny

SEGMENTER = Segmenter(["heart attack"])


class Few:
    """A thesaurus of three words."""

    def synonyms(self, word: str) -> tuple[str, ...]:
        return {"large": ("big", "enormous"), "doctor": ("physician",), "old": ("aged",)}.get(
            word, ()
        )


WORDS = Words(SEGMENTER, Few(), frozenset({"the", "a"}))


def spec(**augmentation: Any) -> VerticalSpec:
    return VerticalSpec(**tiny(language="en", features={"augment": augmentation}))


def labeled(rows: list[tuple[str, str]]) -> pa.Table:
    """LABELED of (text, split); ids are numbers."""
    return pa.Table.from_pylist(
        [
            {
                "item_id": str(n),
                "text": text,
                "task": "sentiment",
                "label": "positive",
                "confidence": 1.0,
                "n_annotators": 3,
                "method": "majority",
                "split": split,
                "cluster_id": f"cluster {n}",
            }
            for n, (text, split) in enumerate(rows)
        ],
        LABELED,
    )


ALL: dict[str, Any] = {"synonyms": {}, "swap": {"per_item": 2}, "delete": {}}
TEXTS = [
    "the large dog and the old doctor were pleased with a heart attack movie",
    "an old book was read by every large child in town",
    "never buy from this shop again, the doctor said",
]


def test_rows_point_at_their_training_item_and_keep_its_label() -> None:
    table = labeled([(TEXTS[0], "train"), (TEXTS[1], "test"), (TEXTS[2], "validation")])
    made = augment(table, spec(**ALL), WORDS).rows
    assert {row["origin_id"] for row in made.to_pylist()} == {"0"}
    assert set(made["method"].to_pylist()) == {"synonyms", "swap", "delete"}
    assert len(set(made["item_id"].to_pylist())) == made.num_rows == 4
    for row in made.to_pylist():
        assert (row["label"], row["split"], row["cluster_id"]) == ("positive", TRAIN, "cluster 0")
        assert row["text"] != TEXTS[0]
        assert "heart attack" in row["text"]  # a domain term
    assert strays(table, made) == 0


def test_synonyms_keep_capitals_articles_and_stop_words() -> None:
    text = "Doctor, a large OLD dog"
    for seed in range(20):
        asked = spec(synonyms={"share": 0.5}).model_copy(update={"seed": seed})
        item = {"item_id": "1", "text": text}
        ((_, _, changed, _),) = variants(item, asked, WORDS, None)
        # `a enormous` would not fit its article; words of capitals stay.
        assert changed in {
            "Physician, a large OLD dog",
            "Physician, a big OLD dog",
            "Doctor, a big OLD dog",
        }


PIECES = ["the", "large", "dog", "old", "doctor", ",", "heart", "attack", "no", "心肌梗死"]


@settings(max_examples=40)
@given(st.lists(st.sampled_from(PIECES)), st.data())
def test_the_covered_text_of_every_span_is_unchanged(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    places = st.integers(0, len(text))
    bounds = data.draw(st.lists(st.tuples(places, places), max_size=4))
    pairs = [(min(pair), max(pair)) for pair in bounds if pair[0] != pair[1]]
    spans = [{"start": start, "end": end, "label": "x"} for start, end in pairs]
    item = {"item_id": data.draw(st.text(max_size=3)), "text": text, "spans": spans}
    asked = spec(**{name: {"share": 0.5} for name in ALL})
    for _, _, changed, moved in variants(item, asked, WORDS, None):
        assert [changed[s.start : s.end] for s in moved] == [text[a:b] for a, b in pairs]


def test_other_items_change_no_row() -> None:
    few = augment(labeled([(TEXTS[0], "train")]), spec(**ALL), WORDS).rows
    many = augment(labeled([(text, "train") for text in TEXTS]), spec(**ALL), WORDS).rows
    assert many.to_pylist()[: few.num_rows] == few.to_pylist()
    other = spec(**ALL).model_copy(update={"seed": 5})
    assert augment(labeled([(TEXTS[0], "train")]), other, WORDS).rows != few


def test_rows_near_a_held_out_item_are_dropped_and_counted() -> None:
    asked = spec(synonyms={})
    rows = [("the large dog sleeps", "train"), ("an old cat of the neighbour sleeps here", "train")]
    unhindered = augment(labeled(rows), asked, WORDS).rows["text"].to_pylist()
    held = [(unhindered[0].upper(), "test"), (f"{unhindered[1]} today", "validation")]
    table = labeled([*rows, *held])
    made = augment(table, asked, WORDS)
    assert made.rows.num_rows == 0
    assert made.counts == {f"synonyms\t{HELD_OUT_EXACT}": 1, f"synonyms\t{HELD_OUT_NEAR}": 1}


@settings(max_examples=12)
@given(st.lists(st.text("ab cd", max_size=12), max_size=8), st.floats(0.2, 1.0))
def test_near_matches_are_those_of_a_comparison_of_all_pairs(
    texts: list[str], threshold: float
) -> None:
    asked = VerticalSpec(**tiny(dedup={"threshold": threshold, "unit": "character", "ngram": 2}))
    ours, theirs = texts[::2], texts[1::2]
    found = matches(ours, theirs, asked)
    for text, match in zip(ours, found, strict=True):
        table = labeled([(text, "train"), *((other, "test") for other in theirs)])
        pairs = [find_leakage(table.take([0, n]), asked) for n in range(1, len(theirs) + 1)]
        assert (match == "exact") == any(pair.exact for pair in pairs)
        assert (match is not None) == any(pair.exact or pair.near for pair in pairs)


def test_augmented_rows_join_the_training_split_only() -> None:
    table = labeled([(TEXTS[0], "train"), (TEXTS[1], "test")])
    made = augment(table, spec(**ALL), WORDS).rows
    joined = with_augmented(table, made)
    assert items_of(joined, "train").texts == [TEXTS[0], *made["text"].to_pylist()]
    assert items_of(joined, "test") == items_of(table, "test")
    assert find_leakage(with_augmented(table, made), spec(**ALL)).total == 0
    wrong = made.set_column(
        made.schema.get_field_index("origin_id"), "origin_id", pa.array(["1"] * made.num_rows)
    )
    assert strays(table, wrong) == made.num_rows


def test_back_translation_is_one_row_where_it_says_something_new() -> None:
    back: list[str | None] = ["a big dog", TEXTS[1], None]
    asked = spec(back_translation={"forward": "x", "backward": "y"})
    made = augment(labeled([(text, "train") for text in TEXTS]), asked, WORDS, lambda texts: back)
    assert [(row["text"], row["method"]) for row in made.rows.to_pylist()] == [
        ("a big dog", "back_translation")
    ]
    assert made.counts[f"back_translation\t{UNTRANSLATED}"] == 1
    with pytest.raises(ValueError, match="needs two translation models"):
        augment(labeled([(TEXTS[0], "train")]), asked, WORDS)


@pytest.mark.parametrize(
    ("language", "augmentation", "says"),
    [
        ("en", {}, "name at least one of 'synonyms'"),
        ("fr", {"synonyms": {}}, "no thesaurus of its own for 'fr'; name one"),
        ("en", {"swap": {"share": 0.9}}, "less than or equal to 0.5"),
        ("en", {"back_translation": {"forward": "x"}}, "backward"),
    ],
)
def test_mistakes_are_named_when_the_vertical_is_loaded(
    language: str, augmentation: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        VerticalSpec(**tiny(language=language, features={"augment": augmentation}))


ENTITIES = {"name": "t", "kind": "entities", "labels": {"drug": "a medicine", "who": "a person"}}
ANSWERS = {"name": "t", "kind": "question_answering"}


@pytest.mark.parametrize("task", [ENTITIES, ANSWERS], ids=lambda task: task["kind"])
def test_back_translation_is_refused_where_labels_are_places_in_the_text(
    task: dict[str, Any],
) -> None:
    asked = {"augment": {"back_translation": {"forward": "x", "backward": "y"}}}
    with pytest.raises(ValidationError, match=f"of kind '{task['kind']}' would point nowhere"):
        VerticalSpec(**tiny(language="en", features=asked, task=task))


def test_gold_spans_move_with_the_text() -> None:
    asked = VerticalSpec(**tiny(language="en", features={"augment": ALL}, task=ENTITIES))
    row = labeled([("the old large doctor took aspirin after lunch", "train")]).to_pylist()[0]
    row |= {"label": None, "spans": [{"start": 26, "end": 33, "label": "drug"}]}
    made = augment(pa.Table.from_pylist([row], LABELED), asked, WORDS).rows.to_pylist()
    assert {made_row["method"] for made_row in made} == {"synonyms", "swap", "delete"}
    for made_row in made:
        (span,) = made_row["spans"]
        assert made_row["text"][span["start"] : span["end"]] == "aspirin"
