"""Encodings are told from the bytes; what can't be decoded is known by its line."""

import io

import pytest

from vertical_assets.corpus.reading.encodings import decoded, detect_encoding

SIMPLIFIED = "这本书的内容很好，印刷也清楚。"
TRADITIONAL = "這本書的內容很好，印刷也清楚。"


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("utf-8", SIMPLIFIED),
        ("utf-8-sig", SIMPLIFIED),
        ("gb18030", SIMPLIFIED),
        ("big5", TRADITIONAL),
        ("utf-16", SIMPLIFIED),
        ("utf-16-le", SIMPLIFIED),
        ("utf-16-be", TRADITIONAL),
        ("utf-16-le", "plain English words"),
    ],
)
@pytest.mark.parametrize("lines", [1, 30])
def test_a_text_is_read_in_the_encoding_it_was_written_in(
    encoding: str, line: str, lines: int
) -> None:
    content = f"{line}\n" * lines
    found = detect_encoding(content.encode(encoding))
    assert content.encode(encoding).decode(found) == content


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "big5"])
def test_single_broken_lines_are_not_taken_for_another_encoding(encoding: str) -> None:
    good = TRADITIONAL.encode(encoding) + b"\n"
    content = good * 15 + b"\xff\xff\n" + good * 15
    assert detect_encoding(content) == encoding
    (block,) = decoded(io.BytesIO(content), encoding)
    assert block.undecodable == {15}
    assert block.lines[16] == TRADITIONAL


def test_a_stray_nul_or_a_character_cut_off_at_the_end_of_the_sample_leaves_utf8() -> None:
    content = f"{SIMPLIFIED}\n".encode() * 20
    assert detect_encoding(content + b"a\0b\n") == "utf-8"
    assert detect_encoding(SIMPLIFIED.encode()[:-1]) == "utf-8"


def test_half_a_character_of_utf16_is_reported_with_its_line() -> None:
    content = f"{SIMPLIFIED}\n{SIMPLIFIED}".encode("utf-16") + b"\x4e"
    blocks = list(decoded(io.BytesIO(content), "utf-16"))
    assert [block.undecodable for block in blocks] == [{1}]
