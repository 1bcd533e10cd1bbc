"""Cleaning changes what only looks different, leaves the rest, and has nothing to do twice."""

import re
import time
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.corpus.cleaning.cleaning import PLAIN, ROUNDS, Changes, clean_batch, clean_text
from vertical_assets.spec import Clean
from vertical_assets_tests.conftest import reviews

ALL = Clean(simplify=True)
POLICIES = [Clean(), ALL, Clean(html=False), Clean(width="keep"), Clean(html=False, width="keep")]
# Random characters seldom make markup; these pieces do.
MARKUP = (
    "< > / <b> <br> </p> <b <!-- --> <script> </script> & amp; &lt; &amp; &#60; # ; lt; x=1 \" '"
)
LETTERS = "a b Ａ ＆ １ ， ＜ 著 藉口 薴 乾 e \u0301 \u0323 \u212b 가 \u11a8 \uf900"
SIGNS = "\u200d \u200b \ufeff 😀 👩 \ufe0f \U0001f3f4 \U000e0067"
SPACES = [" ", "\n", "\t", "\r", "\u3000", "\u2028", "\x00"]
PIECES = st.sampled_from([*f"{MARKUP} {LETTERS} {SIGNS}".split(" "), *SPACES])
TEXTS = st.text(max_size=40) | st.lists(PIECES, max_size=25).map("".join)


def cleaned(text: str, policy: Clean = ALL) -> str:
    return clean_text(text, policy)[0]


@given(text=TEXTS, policy=st.sampled_from(POLICIES))
def test_cleaning_twice_is_cleaning_once(text: str, policy: Clean) -> None:
    once = cleaned(text, policy)
    assert clean_text(once, policy) == (once, {})


@given(texts=st.lists(TEXTS | st.none(), max_size=20), policy=st.sampled_from(POLICIES))
def test_a_batch_is_cleaned_as_its_texts_are(texts: list[str | None], policy: Clean) -> None:
    """The vectorised filter lets nothing pass that a step would change."""
    batch, changes = clean_batch(pa.array(texts, pa.string()), policy)
    alone = [("", {}) if text is None else clean_text(text, policy) for text in texts]
    assert batch.to_pylist() == [
        None if text is None else clean for text, (clean, _) in zip(texts, alone, strict=True)
    ]
    assert changes == {row: changed for row, (_, changed) in enumerate(alone) if changed}


def test_plain_characters_never_compose() -> None:
    """What the filter holds for plain is its own normal form, alone and after any character."""
    decompositions = (unicodedata.decomposition(chr(code)) for code in range(0x110000))
    seconds = {
        chr(int(parts[1], 16))
        for decomposition in decompositions
        if len(parts := decomposition.split()) == 2 and not decomposition.startswith("<")
    } | set(map(chr, [*range(0x1161, 0x1176), *range(0x11A8, 0x11C3)]))
    plain = re.findall(f"[{PLAIN}]", "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)])))
    assert unicodedata.is_normalized("NFC", "\n".join(plain))
    assert not any(map(unicodedata.combining, plain))
    assert seconds.isdisjoint(plain)


@pytest.mark.parametrize(
    ("text", "expected", "changes"),
    [
        ("cafe\u0301, 5 \u212b", "café, 5 Å", {"unicode": 1}),
        ("①㎡½ﬁ", "①㎡½ﬁ", {}),  # NFC, not NFKC
        ("\ufeff血\u200b压\x07 正\u202e常", "血压 正常", {"invisible": 4}),
        ("👨\u200d👩\u200d👧 x\u200d", "👨\u200d👩\u200d👧 x", {"invisible": 1}),
        ("می\u200cخواهم", "می\u200cخواهم", {}),  # spelling, not noise
        ("血压<140 且 a < b and c > d", "血压<140 且 a < b and c > d", {}),
        ("<张三> <EOS> a<b and c>d &copy=1 AT&T", "<张三> <EOS> a<b and c>d &copy=1 AT&T", {}),
        ("<p class='x'>很<b>好</b></p>一般<br/>差", "很好\n一般\n差", {"html": 5, "spaces": 1}),
        ("<a href=\"?a>b\" hidden>药</A >&nbsp房&#33;", "药 房!", {"html": 4, "spaces": 1}),
        ("<!-- <b> --><script>if(a<b){x()}</script>文", "文", {"html": 2}),
        ("&amp;amp;lt;3 &lt;br&gt;x &unknown;", "<3\nx &unknown;", {"html": 4, "spaces": 1}),
        ("ＣＴ１２．５％，正常！（复查）", "CT12.5%，正常！（复查）", {"width": 7}),
        ("  a \t b\r\n\r\n\r\n\u3000c  d ", "a\tb\n\nc d", {"spaces": 11}),
        ("這本書的藉口", "这本书的借口", {"simplify": 3}),
        ("â€œæ–‡", "â€œæ–‡", {}),  # mojibake is for people to look at
    ],
)  # fmt: skip
def test_what_is_changed_and_what_stays(text: str, expected: str, changes: Changes) -> None:
    assert clean_text(text, ALL) == (expected, changes)


def test_the_policy_switches_steps_off() -> None:
    text = "<b>這Ａ</b>"
    assert cleaned(text, Clean()) == "這A"
    assert cleaned(text, Clean(html=False)) == "<b>這A</b>"
    assert cleaned(text, Clean(html=False, width="keep")) == text


def test_tags_nested_without_end_are_made_harmless() -> None:
    left = 30
    nested = ROUNDS + 1 + left
    assert cleaned("<" * nested + "b>" * nested) == "<" * left + " " + "b>" * left


@pytest.mark.parametrize("piece", ["<a ", '<a x="', "<!--", "&amp", "<script>", "\n \t", "<"])
def test_hostile_texts_take_no_longer_than_others(piece: str) -> None:
    """Quadratic time would be minutes here."""
    start = time.process_time()
    cleaned(piece * 50_000, Clean())
    assert time.process_time() - start < 5


def test_real_reviews_keep_every_letter() -> None:
    texts = pa.array([row["text"] for row in reviews(2000)])
    clean, changes = clean_batch(texts, Clean())
    assert 0 < len(changes) < 200
    for row in set(range(len(texts))) - set(changes):
        assert clean[row] == texts[row]
    untagged = [row for row, changed in changes.items() if "html" not in changed]
    for row in untagged:
        before, after = (
            [c for c in unicodedata.normalize("NFKC", array[row].as_py()) if c.isalnum()]
            for array in (texts, clean)
        )
        assert before == after
