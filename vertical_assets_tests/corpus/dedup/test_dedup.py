"""Deduplication is exact: what is near goes, what is not stays, in whatever order and cut."""

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.corpus.dedup.dedup import (
    SKETCHES,
    cluster,
    deduplicate,
    find_duplicates,
    in_memory,
    sketch,
    sketches,
)
from vertical_assets.corpus.dedup.ngrams import code_points, hash_ngrams, normalize
from vertical_assets.spec import Dedup, VerticalSpec
from vertical_assets_tests.conftest import reviews, tiny

SPEC = VerticalSpec(**tiny())
WORDS = list("这本书很好不错质量差物流快慢喜欢")

texts_strategy = st.lists(
    st.lists(st.sampled_from(WORDS), max_size=14).map("".join), min_size=1, max_size=30
)


def with_dedup(**settings: Any) -> VerticalSpec:
    return SPEC.model_copy(update={"dedup": Dedup(**settings)})


def documents(texts: list[str], ids: list[str] | None = None, **columns: list[Any]) -> pa.Table:
    ids = ids or [f"{number:06d}" for number in range(len(texts))]
    return pa.table({"doc_id": ids, "text": pa.array(texts, pa.string()), **columns})


def ngrams(text: str, ngram: int = 3) -> set[str]:
    return {text[i : i + ngram] for i in range(max(1, len(text) - ngram + 1))} if text else set()


def brute_force(texts: list[str], threshold: float) -> list[tuple[int, float]]:
    """Greedy stars from the definition: (row that is kept for it, their similarity) of each row."""
    plain = [normalize(text) for text in texts]
    sets = [ngrams(text) for text in plain]
    kept: list[int] = []
    found: dict[int, tuple[int, float]] = {}
    for i in sorted(range(len(texts)), key=lambda i: (-len(plain[i]), i)):
        twins = [
            (len(sets[i] & sets[j]) / max(1, len(sets[i] | sets[j])), -place, j)
            for place, j in enumerate(kept)
        ]
        twins = [twin for twin in twins if twin[0] >= threshold or plain[twin[2]] == plain[i]]
        same = [j for j in kept if plain[j] == plain[i]]
        if same or twins:
            similarity, _, j = max(twins)
            found[i] = (same[0], 1.0) if same else (j, similarity)
        else:
            kept.append(i)
            found[i] = (i, 1.0)
    return [found[i] for i in range(len(texts))]


@settings(max_examples=80)
@given(texts=texts_strategy, threshold=st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_clusters_are_those_of_comparing_every_pair(texts: list[str], threshold: float) -> None:
    found = find_duplicates(documents(texts).to_batches(), with_dedup(threshold=threshold))
    got = list(zip(found.kept.tolist(), found.similarity.tolist(), strict=True))
    assert got == brute_force(texts, threshold)


def test_clusters_of_real_reviews_are_those_of_comparing_every_pair() -> None:
    chance = random.Random(1)
    texts = [row["text"] for row in reviews(400)]
    for _ in range(120):
        text = chance.choice(texts)
        place = chance.randrange(len(text))
        texts.append(text[:place] + chance.choice(WORDS) + text[place + chance.randrange(4) :])
    for threshold in (0.4, 0.8):
        spec = with_dedup(threshold=threshold, unit="character")
        found = find_duplicates(documents(texts).to_batches(), spec)
        got = list(zip(found.kept.tolist(), found.similarity.tolist(), strict=True))
        assert got == brute_force(texts, threshold)
        assert 50 < (~found.stays).sum() < 400


@settings(max_examples=40)
@given(texts=texts_strategy, seed=st.integers(0, 1000), rows=st.integers(1, 8))
def test_neither_order_nor_batches_matter(texts: list[str], seed: int, rows: int) -> None:
    order = list(range(len(texts)))
    random.Random(seed).shuffle(order)
    ids = [f"id{number}" for number in range(len(texts))]
    one = find_duplicates(documents(texts, ids).to_batches(), SPEC)
    other = documents([texts[i] for i in order], [ids[i] for i in order])
    assert one.table().equals(find_duplicates(other.to_batches(rows), SPEC).table())


@settings(max_examples=40)
@given(texts=texts_strategy)
def test_what_is_kept_has_no_duplicates(texts: list[str]) -> None:
    once = deduplicate(documents(texts), SPEC)
    assert once.documents.num_rows + once.duplicates.num_rows == len(texts)
    assert once.documents["cluster_id"].equals(once.documents["doc_id"])
    kept = [normalize(text) for text in once.documents["text"].to_pylist()]
    assert len(set(kept)) == len(kept)
    assert deduplicate(once.documents.drop("cluster_id"), SPEC).duplicates.num_rows == 0


def test_stored_sketches_give_the_same_clusters(tmp_path: Path) -> None:
    texts = [row["text"] for row in reviews(400)]
    table = documents(texts + [text[:-1] for text in texts])
    file = tmp_path / "part.parquet"
    with pq.ParquetWriter(file, SKETCHES) as writer:
        for batch in sketches(table.to_batches(100), SPEC):
            writer.write_batch(batch)

    def read(columns: Any) -> Any:
        return pq.ParquetFile(file).iter_batches(150, columns=columns)

    stored = cluster(read, SPEC).table()
    assert stored.equals(find_duplicates(table.to_batches(), SPEC).table())
    assert stored.num_rows > 300


def test_new_parts_need_no_new_sketches_of_old_ones() -> None:
    texts = [row["text"] for row in reviews(100)]
    ids = [f"{number:03d}" for number in range(120)]
    old = list(sketches(documents(texts, ids[:100]).to_batches(), SPEC))
    new = list(sketches(documents(texts[:20], ids[100:]).to_batches(), SPEC))
    together = cluster(in_memory(old + new), SPEC)
    whole = find_duplicates(documents(texts + texts[:20], ids).to_batches(), SPEC)
    assert together.table().equals(whole.table())
    assert (~together.stays[100:]).all()


def test_exact_copies_are_equal_after_normalization() -> None:
    result = deduplicate(documents(["质量 很好", "  质量　很好 ", "ＡＢＣ ok", "abc OK"]), SPEC)
    assert result.documents.num_rows == 2
    assert result.duplicates["method"].to_pylist() == ["exact", "exact"]


def test_a_copy_of_a_near_duplicate_goes_to_what_was_kept() -> None:
    best, near = (
        "这家店的物流非常快质量也好推荐大家购买哦",
        "这家店的物流非常快质量也好推荐大家购买",
    )
    rows = deduplicate(documents([near, near, best]), SPEC).duplicates.to_pylist()
    assert [(row["kept_id"], row["method"]) for row in rows] == [("000002", "near")] * 2
    assert rows[0]["similarity"] == rows[1]["similarity"] == pytest.approx(17 / 18)


LONG, SHORT = "这家店的物流非常快质量也好推荐大家购买哦", "这家店的物流非常快质量也好推荐大家购买"


@pytest.mark.parametrize(
    ("keep", "kept"), [("longest", "c"), ("first", "a"), ("newest", "b"), ("source", "d")]
)
def test_the_policy_says_which_one_is_kept(keep: str, kept: str) -> None:
    table = documents(
        [SHORT, SHORT, LONG, SHORT],
        ["a", "b", "c", "d"],
        # 23:00 in New York is the later moment; a missing date is the oldest.
        published_at=[None, "2024-01-01T23:00:00-05:00", "2024-01-02T01:00:00+00:00", "2023"],
        source=["second", "second", "second", "first"],
    )
    table = table.set_column(
        2, "published_at", [[*table["published_at"].to_pylist()[:3], "2023-01-01"]]
    )
    result = deduplicate(table, with_dedup(keep=keep))
    assert result.documents["doc_id"].to_pylist() == [kept]
    assert set(result.duplicates["kept_id"].to_pylist()) == {kept}


def test_equals_are_told_apart_by_id() -> None:
    assert deduplicate(documents([SHORT] * 3, ["b", "a", "c"]), SPEC).documents[
        "doc_id"
    ].to_pylist() == ["a"]


@pytest.mark.parametrize(
    ("keep", "column", "words"),
    [("newest", {"published_at": ["last May"]}, "ISO 8601"), ("source", {"source": ["x"]}, "x")],
)
def test_what_a_policy_cannot_rank_is_an_error(
    keep: str, column: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        deduplicate(documents(["text"], **column), with_dedup(keep=keep))


def test_a_missing_text_is_an_error() -> None:
    batch = pa.RecordBatch.from_pydict({"doc_id": ["a"], "text": pa.array([None], pa.string())})
    with pytest.raises(ValueError, match="document a has no text"):
        sketch(batch, SPEC)


def test_no_documents_are_no_clusters() -> None:
    assert find_duplicates([], SPEC).table().num_rows == 0
    assert find_duplicates(documents(["", " "]).to_batches(), SPEC).stays.tolist() == [True, False]


# Characters that expand, fold, combine or vanish are rare in any text: they are asked for.
odd = st.sampled_from("…½㈱ﬁßﷺİ　\u0301\u1160가각\U0002f800\U0001f600Å①Ａ\x85\x1f¨ ")


@settings(max_examples=300)
@given(texts=st.lists(st.text(st.characters(codec="utf-8") | odd, max_size=12), max_size=6))
def test_compiled_normalization_is_pythons(texts: list[str]) -> None:
    points = code_points(pa.array(["left out", *texts], pa.string()).slice(1))
    got = [
        points.values[start:end].tobytes().decode("utf-32-le")
        for start, end in zip(points.starts, points.ends, strict=True)
    ]
    assert got == [normalize(text) for text in texts]


def test_every_character_is_normalized_as_python_does_it() -> None:
    every = [chr(point) for point in range(0x30000) if not 0xD800 <= point < 0xE000]
    points = code_points(pa.array(every))
    for start, end, char in zip(points.starts, points.ends, every, strict=True):
        assert points.values[start:end].tolist() == [ord(c) for c in normalize(char)]


@given(text=st.text("ab, 好の、ไ", max_size=20), ngram=st.integers(1, 5))
def test_as_many_hashes_as_distinct_ngrams(text: str, ngram: int) -> None:
    plain = normalize(text)
    units = {
        "character": list(plain),
        "word": plain.split(),
        "script": re.findall("[好の、ไ]|[ab,]+", plain),
    }
    for unit, found in units.items():
        distinct = {
            tuple(found[i : i + ngram]) for i in range(max(1, len(found) - ngram + 1)) if found
        }
        assert len(hash_ngrams(code_points(pa.array([text])), ngram, unit).values) == len(distinct)


def test_by_script_ideographs_count_one_by_one_and_words_whole() -> None:
    hashed = hash_ngrams(
        code_points(pa.array(["买了iPhone 15手机", "买 了 iphone 15 手 机"])), 1, "script"
    )
    one, two = np.split(hashed.values, [hashed.offsets[1]])
    assert one.tolist() == two.tolist()
    assert len(one) == len(["买", "了", "iphone", "15", "手", "机"])


def test_word_ngrams_do_not_know_their_place() -> None:
    texts = pa.array(["type one diabetes", "Diabetes  type one", "type one"])
    hashed = hash_ngrams(code_points(texts), 2, "word")
    one, two, three = (
        set(hashed.values[start:end].tolist())
        for start, end in zip(hashed.offsets[:-1], hashed.offsets[1:], strict=True)
    )
    assert [len(one), len(two), len(three)] == [2, 2, 1]
    assert one & two == three
