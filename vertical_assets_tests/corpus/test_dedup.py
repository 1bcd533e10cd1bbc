"""Deduplication: exact copies go, near ones only if they are truly near, in whatever order."""

import random
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.corpus.dedup import deduplicate, normalize
from vertical_assets.corpus.minhash import MISS, bands_for, near_duplicates, shingle
from vertical_assets.spec import Dedup, VerticalSpec
from vertical_assets.store.contracts import DOCUMENTS
from vertical_assets_tests.conftest import reviews, tiny
from vertical_assets_tests.corpus.test_rules import ROW

SPEC = VerticalSpec(**tiny())
WORDS = list("这本书很好不错质量差物流快慢喜欢")


def documents(texts: list[str], ids: list[str] | None = None) -> pa.Table:
    ids = ids or [str(number) for number in range(len(texts))]
    rows = [{**ROW, "doc_id": id_, "text": text} for id_, text in zip(ids, texts, strict=True)]
    return pa.Table.from_pylist([{k: row[k] for k in DOCUMENTS.names} for row in rows], DOCUMENTS)


def jaccard(a: str, b: str, ngram: int = 3) -> float:
    """By sets, straight from the definition."""

    def grams(text: str) -> set[str]:
        return {text[i : i + ngram] for i in range(max(1, len(text) - ngram + 1))}

    x, y = grams(normalize(a)), grams(normalize(b))
    return len(x & y) / len(x | y)


texts_strategy = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map("".join), min_size=1, max_size=30
)


@settings(max_examples=60, deadline=None)
@given(texts=texts_strategy)
def test_every_dropped_document_is_near_the_one_that_was_kept(texts: list[str]) -> None:
    result = deduplicate(documents(texts), SPEC)
    kept = {row["doc_id"]: row["text"] for row in result.documents.to_pylist()}
    assert result.documents.num_rows + result.duplicates.num_rows == len(texts)
    for row in result.duplicates.to_pylist():
        true = jaccard(texts[int(row["dropped_id"])], kept[row["kept_id"]])
        assert true >= SPEC.dedup.threshold
        assert row["similarity"] == pytest.approx(true)
    assert len({normalize(text) for text in kept.values()}) == len(kept)
    for a, b in combinations(kept.values(), 2):
        assert jaccard(a, b) < SPEC.dedup.threshold


@settings(max_examples=40, deadline=None)
@given(texts=texts_strategy, seed=st.integers(0, 1000))
def test_order_does_not_matter(texts: list[str], seed: int) -> None:
    order = list(range(len(texts)))
    random.Random(seed).shuffle(order)
    ids = [f"id{number}" for number in range(len(texts))]
    first = deduplicate(documents(texts, ids), SPEC)
    second = deduplicate(documents([texts[i] for i in order], [ids[i] for i in order]), SPEC)
    assert first.duplicates.equals(second.duplicates)
    assert set(first.documents["doc_id"].to_pylist()) == set(second.documents["doc_id"].to_pylist())


def test_near_copies_of_real_reviews_are_found() -> None:
    originals = [row["text"] for row in reviews(300) if len(row["text"]) >= 40]
    copies = [text[:-1] + "！" for text in originals]
    result = deduplicate(documents(originals + copies), SPEC)
    assert result.duplicates.num_rows >= 0.99 * len(originals)
    assert "near" in result.duplicates["method"].to_pylist()


def test_exact_copies_are_equal_after_normalization() -> None:
    result = deduplicate(documents(["质量 很好", "  质量　很好 ", "ＡＢＣ ok", "abc OK"]), SPEC)
    assert result.documents.num_rows == 2
    assert result.duplicates["method"].to_pylist() == ["exact", "exact"]


def test_the_longest_or_the_first_is_kept() -> None:
    texts = ["这家店的物流非常快质量也好推荐大家购买", "这家店的物流非常快质量也好推荐大家购买哦"]
    kept = deduplicate(documents(texts), SPEC).documents["text"].to_pylist()
    assert kept == [texts[1]]
    first = SPEC.model_copy(update={"dedup": Dedup(keep="first")})
    assert deduplicate(documents(texts), first).documents["text"].to_pylist() == [texts[0]]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_miss_fewer_than_one_pair_in_a_million(threshold: float) -> None:
    bands, rows = bands_for(threshold, 128)
    assert bands * rows <= 128
    assert (1 - threshold**rows) ** bands <= MISS


def test_word_shingles_are_words() -> None:
    shingles = shingle(["type one diabetes", "diabetes type one", "type one"], 2, "word")
    sets = [
        set(shingles.values[a:b])
        for a, b in zip(shingles.offsets, shingles.offsets[1:], strict=False)
    ]
    assert [len(found) for found in sets] == [2, 2, 1]
    assert sets[0] & sets[1] == sets[2]


def test_no_documents_are_no_clusters() -> None:
    kept, similarity = near_duplicates(shingle([], 3, "character"), 0.8, 128, 1)
    assert kept.size == similarity.size == 0
    assert np.array_equal(kept, np.arange(0))
