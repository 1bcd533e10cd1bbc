"""Encodings: the one a text is in, told from its bytes; lines, and which of them were no text."""

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

SAMPLE_BYTES = 1 << 20
BLOCK_CHARS = 1 << 20
MOSTLY = 0.9  # single broken lines are reported, not taken for another encoding
# Chinese encodings met in practice besides UTF-8; charset-normalizer chooses between them.
LEGACY = ("gb18030", "big5")
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# ASCII, Latin-1, punctuation, kana, Han, full width: what a text in UTF-16 is made of.
PLAUSIBLE = (
    *((9, 13), (0x20, 0xFF), (0x2000, 0x206F)),
    *((0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xFF00, 0xFFEF)),
)
PLAUSIBLE_BYTES = 1 << 13
UNDECODABLE = "\udcff"  # a lone surrogate: no text can hold one


class Lines(NamedTuple):
    """Lines without their ends; `undecodable` tells the indices of those with broken bytes."""

    first: int
    lines: list[str]
    undecodable: frozenset[int] = frozenset()


def detect_encoding(sample: bytes) -> str:
    """Encoding of a text from its first bytes, a name that `codecs.lookup` knows.

    A byte-order mark decides; then UTF-16, where NUL bytes and what the text is made of say so;
    then UTF-8 where nearly all lines are valid; then GB18030 or Big5 if nearly all lines are valid
    there, by charset-normalizer where both would do. UTF-8 if nothing fits: its lines are reported.
    """
    for mark, name in BYTE_ORDER_MARKS.items():
        if sample.startswith(mark):
            return name
    utf_8, nul = _decodes(sample, "utf-8"), sample.count(b"\0")
    if nul and (not utf_8 or nul > len(sample) / 10):
        best = max(("utf-16-le", "utf-16-be"), key=lambda name: _plausible(sample, name))
        if _plausible(sample, best) >= MOSTLY:
            return best
    lines = sample.split(b"\n")[:-1] or [sample]
    if utf_8 or sum(_decodes(line, "utf-8") for line in lines) >= MOSTLY * len(lines):
        return "utf-8"
    lines = [line for line in lines if not line.isascii()]
    fits = {name: [line for line in lines if _decodes(line, name)] for name in LEGACY}
    left = [name for name in LEGACY if len(fits[name]) >= MOSTLY * len(lines)]
    if len(left) < 2:
        return left[0] if left else "utf-8"
    from charset_normalizer import from_bytes

    both = b"\n".join(line for line in fits[left[0]] if _decodes(line, left[1]))
    found = from_bytes(both, cp_isolation=left).best()
    return found.encoding if found else left[0]


def _decodes(line: bytes, encoding: str) -> bool:
    """Whether the bytes are text, up to a character cut off at their end."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(line)
    except UnicodeDecodeError:
        return False
    return True


def _plausible(sample: bytes, encoding: str) -> float:
    text = sample[:PLAUSIBLE_BYTES].decode(encoding, "replace")
    return sum(any(low <= ord(c) <= high for low, high in PLAUSIBLE) for c in text) / len(text)


def _mark(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return UNDECODABLE, error.end
    raise error


codecs.register_error("mark_undecodable", _mark)


def decoded(opened: io.BufferedIOBase, encoding: str, first: int = 1) -> Iterator[Lines]:
    """Lines of a file in blocks of about a million characters; only `\\n` ends a line.

    Args:
        opened: the bytes.
        encoding: theirs.
        first: number of the first line.
    """
    reader = io.TextIOWrapper(
        cast(BinaryIO, opened), encoding, errors="mark_undecodable", newline="\n"
    )
    more = True
    while more:
        lines: list[str] = []
        size, broken_off = 0, None
        try:
            for line in reader:
                lines.append(line.rstrip("\r\n"))
                size += len(line)
                if size >= BLOCK_CHARS:
                    break
            else:
                more = False
        except Exception as error:  # a compressed file breaks off: what was read before it stays
            broken_off = error
        marked = _marked(lines)
        for index in marked:
            lines[index] = lines[index].replace(UNDECODABLE, "\N{REPLACEMENT CHARACTER}")
        yield Lines(first, lines, marked)
        first += len(lines)
        if broken_off:
            raise broken_off


def decoded_whole(content: bytes, encoding: str) -> tuple[str, int | None]:
    """A text, and the number of its first line with undecodable bytes."""
    text = content.decode(encoding, "mark_undecodable")
    found = text.find(UNDECODABLE)
    line = text.count("\n", 0, found) + 1 if found >= 0 else None
    return text.replace(UNDECODABLE, "\N{REPLACEMENT CHARACTER}").replace("\r\n", "\n"), line


def _marked(lines: list[str]) -> frozenset[int]:
    try:  # one encode of the whole block costs a tenth of looking at each line
        "".join(lines).encode()
    except UnicodeEncodeError:
        return frozenset(i for i, line in enumerate(lines) if UNDECODABLE in line)
    return frozenset()
