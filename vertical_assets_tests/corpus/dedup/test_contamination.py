"""Contamination: what the corpus holds of the evaluation items is found, wherever it stands."""

import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.corpus.dedup.contamination import SHORTEST, find_contamination
from vertical_assets_tests.conftest import reviews


def items(*texts: str) -> pa.Table:
    ids = pa.array([f"item{number}" for number in range(len(texts))], pa.string())
    return pa.table({"item_id": ids, "text": pa.array(texts, pa.string())})


def documents(*texts: str) -> list[pa.RecordBatch]:
    """In batches of two."""
    ids = pa.array([f"doc{number}" for number in range(len(texts))], pa.string())
    table = pa.table({"doc_id": ids, "text": pa.array(texts, pa.string())})
    return table.to_batches(max_chunksize=2)


def units(text: str, unit: str) -> list[str]:
    """Letters and digits only, folded; straight from the definition."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.findall(r"[^\W_]+" if unit == "word" else r"[^\W_]", folded)


def expected(items: list[str], documents: list[str], ngram: int, unit: str) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for i, item in enumerate(units(text, unit) for text in items):
        width = min(ngram, len(item))
        grams = {tuple(item[j : j + width]) for j in range(len(item) - width + 1)}
        for d, document in enumerate(units(text, unit) for text in documents):
            others = {tuple(document[j : j + width]) for j in range(len(document) - width + 1)}
            if item and item == document:
                found.add((f"item{i}", f"doc{d}", "exact", "1.000"))
            elif width >= min(SHORTEST, ngram) and grams & others:
                share = len(grams & others) / len(grams)
                found.add((f"item{i}", f"doc{d}", "ngram", f"{share:.3f}"))
    return found


some_texts = st.lists(
    st.lists(
        st.sampled_from(["ab", "AB", "ｃ", "d", " ", ", ", "。", "很", "好"]), max_size=25
    ).map("".join),
    max_size=8,
)


@settings(max_examples=25)
@given(some_texts, some_texts, st.integers(1, 10), st.sampled_from(["word", "character"]))
def test_finds_exactly_what_the_definition_says(
    tests: list[str], corpus: list[str], ngram: int, unit: str
) -> None:
    result = find_contamination(items(*tests), documents(*corpus), ngram, unit)
    found = {
        (row["item_id"], row["doc_id"], row["kind"], f"{row['overlap']:.3f}")
        for row in result.to_pylist()
    }
    assert found == expected(tests, corpus, ngram, unit)
    assert result.num_rows == len(found)


def test_overlap_is_the_share_of_the_items_ngrams() -> None:
    words = [f"word{number}" for number in range(20)]  # 8 n-grams of 13
    corpus = [
        "It said: " + ", ".join(words[:15]).upper() + "!",
        " ".join(words),
        "before " + " ".join(words) + " after",
        " ".join(words[:12]),
    ]
    result = find_contamination(items(" ".join(words)), documents(*corpus)).to_pylist()
    assert [(row["doc_id"], row["overlap"], row["kind"]) for row in result] == [
        ("doc1", 1.0, "exact"),
        ("doc2", 1.0, "ngram"),
        ("doc0", 3 / 8, "ngram"),
    ]


def test_case_width_accents_and_punctuation_make_no_difference() -> None:
    item = items("Ｔｈｅ café serves FRESH bread, daily; from nine (9) o’clock on Mondays!")
    plain = "the cafe serves fresh bread daily from nine 9 o clock on mondays"
    decomposed = unicodedata.normalize("NFD", plain.replace("cafe", "café"))
    found = find_contamination(item, documents(plain, decomposed))
    assert found["kind"].to_pylist() == ["exact", "exact"]


def test_a_short_item_is_found_inside_a_text_and_a_very_short_one_only_as_the_whole_text() -> None:
    short, very_short = "这本书的印刷质量很好", "质量很好"
    corpus = documents(f"我觉得，{short}。推荐！", f"{very_short}！")
    found = find_contamination(items(short, very_short), corpus, unit="character").to_pylist()
    assert [(row["item_id"], row["doc_id"], row["kind"]) for row in found] == [
        ("item0", "doc0", "ngram"),
        ("item1", "doc1", "exact"),
    ]


def test_an_item_is_not_contaminated_by_its_own_document() -> None:
    texts = [row["text"] for row in reviews(100)]
    corpus = pa.table({"doc_id": [f"item{n}" for n in range(100)], "text": texts})
    batches = [*corpus.to_batches(), *documents(texts[7])]
    found = find_contamination(items(*texts), batches, unit="character").to_pylist()
    assert {(row["item_id"], row["doc_id"]) for row in found} == {("item7", "doc0")}
    left_out = find_contamination(items(*texts), batches, unit="character", leave_out={"doc0"})
    assert left_out.num_rows == 0


def test_real_reviews_hidden_in_long_texts_are_all_found() -> None:
    texts = [row["text"] for row in reviews(400)]
    rng = np.random.default_rng(5)
    hidden = sorted(rng.choice(len(texts), 40, replace=False).tolist())
    rest = [text for number, text in enumerate(texts) if number not in hidden]
    corpus = [f"{rest[n]}{texts[h]}{rest[n + 1]}" for n, h in enumerate(hidden)]
    tests = items(*(texts[h] for h in hidden))
    found = find_contamination(tests, documents(*corpus, *rest), unit="character").to_pylist()
    whole = {(row["item_id"], row["doc_id"]) for row in found if row["overlap"] == 1.0}
    assert {(f"item{n}", f"doc{n}") for n in range(40)} <= whole


def test_no_items_and_no_documents_are_no_finds() -> None:
    assert find_contamination(items(), documents("a text")).num_rows == 0
    assert find_contamination(items("a text"), []).num_rows == 0
    assert find_contamination(items("!?", ""), documents("!?", "")).num_rows == 0


def test_an_unknown_unit_is_an_error() -> None:
    with pytest.raises(ValueError, match="'word' or 'character'"):
        find_contamination(items("a"), [], unit="token")
