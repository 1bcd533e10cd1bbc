"""Characters: what each code point is, as tables that compiled code looks things up in."""

from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

POINTS = 0x110000
ALPHABETIC, SPACE, WORD, TERMINAL = 1, 2, 4, 8  # bits of `properties`
# Sentence terminals (Unicode's Sentence_Terminal, those of the languages met in practice).
TERMINALS = ".!?。！？．｡﹒﹖﹗‼⁇⁈⁉؟۔।॥։።"
SCRIPTS = (
    "none", "Latin", "Han", "Japanese", "Hangul", "Cyrillic", "Greek", "Arabic", "Hebrew",
    "Devanagari", "Thai",
)  # fmt: skip
# Blocks of letters by script (Unicode's Blocks.txt); `Japanese` is what only Japanese uses.
_BLOCKS = {
    "Latin": ((0x41, 0x24F), (0x1E00, 0x1EFF), (0xFF21, 0xFF5A)),
    "Greek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "Cyrillic": ((0x400, 0x52F),),
    "Hebrew": ((0x590, 0x5FF),),
    "Arabic": ((0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC)),
    "Devanagari": ((0x900, 0x97F),),
    "Thai": ((0xE00, 0xE7F),),
    "Hangul": ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7FF)),
    "Japanese": ((0x3041, 0x30FA), (0x30FD, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F)),
    "Han": ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)),
}


@cache
def properties() -> NDArray[np.uint8]:
    """By code point: ALPHABETIC and SPACE as `str.isalpha` and `str.isspace` say, WORD where the
    character is a word by itself (Han and kana are written without spaces), TERMINAL."""
    found = np.zeros(POINTS, np.uint8)
    named = [chr(point) for point in range(0x20000)]  # above: Han, tags and private use only
    found[:0x20000] |= np.fromiter(map(str.isalpha, named), bool, len(named)) * np.uint8(ALPHABETIC)
    found[:0x20000] |= np.fromiter(map(str.isspace, named), bool, len(named)) * np.uint8(SPACE)
    scripts = letters()
    own = (scripts == SCRIPTS.index("Han")) | (scripts == SCRIPTS.index("Japanese"))
    found[own] |= WORD | ALPHABETIC
    found[[ord(character) for character in TERMINALS]] |= TERMINAL
    return found


@cache
def letters() -> NDArray[np.uint8]:
    """By code point: index into SCRIPTS of the script that a letter of it belongs to."""
    found = np.zeros(POINTS, np.uint8)
    for name, blocks in _BLOCKS.items():
        for first, last in blocks:
            found[first : last + 1] = SCRIPTS.index(name)
    latin = found == SCRIPTS.index("Latin")
    latin[:0x20000] &= np.array([not chr(point).isalpha() for point in range(0x20000)])
    found[latin] = 0  # signs between the letters, such as [ and ×
    return found


@numba.njit(cache=True, nogil=True)
def decode(data, start, end, points):  # type: ignore[no-untyped-def]
    """Writes the code points of the UTF-8 bytes `data[start:end]` to `points`; returns how many."""
    size = 0
    i = start
    while i < end:
        byte = np.uint32(data[i])
        if byte < 0x80:
            points[size] = byte
            i += 1
        elif byte < 0xE0:
            points[size] = (byte & 0x1F) << 6 | (data[i + 1] & 0x3F)
            i += 2
        elif byte < 0xF0:
            points[size] = (byte & 0x0F) << 12 | (data[i + 1] & 0x3F) << 6 | (data[i + 2] & 0x3F)
            i += 3
        else:
            points[size] = (
                (byte & 0x07) << 18
                | (data[i + 1] & 0x3F) << 12
                | (data[i + 2] & 0x3F) << 6
                | (data[i + 3] & 0x3F)
            )
            i += 4
        size += 1
    return size
