"""Numerals: reads the value of a Chinese or Arabic numeral exactly, writes it as asked (D10).

Grammar of the Chinese decimal system: digits before 十 百 千 make a section below ten thousand;
万 and 亿 scale what stands before them. A last digit without its unit takes the next lower one
(三千五 = 3500, 两万五 = 25000). Values are integers times a power of ten, never floats.
"""

import re
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

Policy = Literal["digits", "grouped", "scientific", "keep"]

DIGITS = "零一二三四五六七八九"
SCALES = "十百千万亿"
CAPITALS = "壹贰叁肆伍陆柒捌玖拾佰仟"
# Variants; the last ten are traditional characters. 两 is not a variant of 二 in strings of digits.
_VARIANTS = "〇○幺" + CAPITALS + "貳貮參叄陸兩萬億弍弌"
_PLAIN = "零零一" + "一二三四五六七八九十百千" + "二二三三六两万亿二一"
CHARACTERS = DIGITS + SCALES + "两廿卅" + _VARIANTS
_CANONICAL = str.maketrans(
    {**dict(zip(_VARIANTS, _PLAIN, strict=True)), "廿": "二十", "卅": "三十"}
)
_VALUE = {character: value for value, character in enumerate(DIGITS)} | {"两": 2, "": 0}
_POWER = {"十": 1, "百": 2, "千": 3, "万": 4, "亿": 8, "hundred": 2, "thousand": 3}
_POWER |= {"million": 6, "billion": 9, "trillion": 12}

_SECTION = re.compile(
    r"(?:([一二两三四五六七八九])千)?(?:零?([一二两三四五六七八九])百)?"
    r"(?:零?([一二三四五六七八九]?)(十))?(?:(零?)([一二三四五六七八九]))?"
)
ARABIC = r"(?:0|[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d*)(?:\.\d+)?"
WORDS = r"(?: (?:hundred|thousand|million|billion|trillion))"
_TERM = re.compile(rf"({ARABIC})(?: ?([{SCALES}]+)|({WORDS}+))?", re.IGNORECASE | re.ASCII)
_PAIR = re.compile(r"(?=([一二两三四五六七八])([二两三四五六七八九]))")
LONGEST = 60  # characters; nobody writes longer numerals, and reading them would take long


class Number(NamedTuple):
    """mantissa * 10 ** exponent; a negative exponent keeps the decimals as they were written."""

    mantissa: int
    exponent: int = 0

    def scaled(self, power: int) -> "Number":
        """Times 10 ** power; decimals that are only zeros go."""
        mantissa, exponent = self.mantissa, self.exponent + power
        while power and exponent < 0 and mantissa % 10 == 0:
            mantissa, exponent = mantissa // 10, exponent + 1
        return Number(mantissa, exponent)

    def below(self, other: "Number") -> bool:
        """Whether the value is less than the other's."""
        least = min(self.exponent, other.exponent)
        left = self.mantissa * 10 ** (self.exponent - least)
        return left < other.mantissa * 10 ** (other.exponent - least)


@lru_cache(maxsize=4096)  # the same few numerals make most of any text
def read(numeral: str) -> Number | None:
    """The value of a whole numeral, e.g. 十二万三千, 三点五亿, 3千5百, 1.5 million; None if it
    is none. A string of digits (二〇二四) is no numeral here, see `read_digits`.
    """
    if not numeral or len(numeral) > LONGEST:
        return None
    if numeral[:1].isascii():
        return _read_arabic(numeral)
    integer, point, rest = numeral.translate(_CANONICAL).partition("点")
    decimals = rest.rstrip(SCALES)
    scale = rest[len(decimals) :]
    whole = None if integer[:1] == "零" != integer else _read_whole(integer)
    if whole is None or not point:
        return None if whole is None else Number(whole)
    if not decimals or any(character not in DIGITS for character in decimals):
        return None
    power = _scale(scale)
    mantissa = int(f"{whole}{read_digits(decimals)}")
    return None if power is None else Number(mantissa, -len(decimals)).scaled(power)


def read_digits(numeral: str) -> str | None:
    """The digits of a numeral read one by one (一三八〇 -> 1380); None if it is none."""
    numeral = numeral.translate(_CANONICAL)
    if not numeral or any(character not in DIGITS for character in numeral):
        return None
    return "".join(str(_VALUE[character]) for character in numeral)


def read_approximate(numeral: str) -> tuple[Number, Number] | None:
    """Both ends of 三四十 (30, 40), 十七八 (17, 18), 两三百万; None if it is not of that kind."""
    plain = numeral.translate(_CANONICAL)
    pairs = [
        found.start()
        for found in _PAIR.finditer(plain)
        if _VALUE[found[2]] - _VALUE[found[1]] == 1 or (found[1] + found[2] == "三五" == plain[:2])
    ]
    if len(pairs) != 1:
        return None
    place = pairs[0]
    low, high = (
        read(plain[: place + 1] + plain[place + 2 :]),
        read(plain[:place] + plain[place + 1 :]),
    )
    return (low, high) if low and high and low.below(high) else None


def split_scale(numeral: str) -> tuple[str, int]:
    """What stands before the last scale of a numeral, and that scale's power of ten: 五万 is
    (五, 4), 2 million (2, 6); power 0 where there is none.
    """
    if words := re.search(rf"{WORDS}+$", numeral, re.IGNORECASE):
        return numeral[: words.start()], sum(_POWER[word] for word in words[0].lower().split())
    plain = numeral.translate(_CANONICAL)
    rest = plain.rstrip("万亿") if plain[-1] in "万亿" else plain.rstrip(SCALES)
    return rest.rstrip(), _scale(plain[len(rest) :]) or 0


def write(number: Number, policy: Policy) -> str:
    """The value under a policy: digits 10500000, grouped 10,500,000, scientific 1.05e7.

    Scientific is always exact and only used from 10**4 on and where it is shorter than the digits:
    20000 is 2e4, 12345 stays.
    """
    digits = str(abs(number.mantissa) * 10 ** max(number.exponent, 0))
    sign = "-" if number.mantissa < 0 else ""
    decimals = max(-number.exponent, 0)
    digits = digits.rjust(decimals + 1, "0")
    whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
    if policy == "scientific" and not fraction and len(whole) > 4:
        head = whole.rstrip("0")
        short = head[0] + ("." + head[1:] if head[1:] else "") + f"e{len(whole) - 1}"
        return sign + min(whole, short, key=len)
    if policy == "grouped":
        whole = f"{int(whole):,}"
    return sign + whole + ("." + fraction if fraction else "")


def _read_arabic(numeral: str) -> Number | None:
    """Arabic digits with scales: 3.5亿, 1亿2000万, 3千5, 1,000.5万, 1.5 million."""
    total, last = Number(0), None
    place = 0
    while place < len(numeral):
        term = _TERM.match(numeral, place)
        if term is None or (last is not None and "." in term[1]):
            return None
        whole, _, fraction = term[1].replace(",", "").partition(".")
        power = _scale(term[2] or "")
        if power is None:
            return None
        power += sum(_POWER[word] for word in (term[3] or "").lower().split())
        if last is not None and power >= last:
            return None
        if last and not power:  # 3千5 and 1万2000 are read, 1万20 is not
            if len(whole) not in (1, last):
                return None
            power = last - len(whole)
        value = Number(int(whole + fraction), -len(fraction)).scaled(power)
        place, last = term.end(), power
        if total == Number(0):
            total = value
        elif total.exponent < 0 or len(whole) + power > len(str(total.mantissa)) + total.exponent:
            return None
        else:
            total = Number(
                total.mantissa * 10**total.exponent + value.mantissa * 10**value.exponent
            )
    return total


def _read_whole(numeral: str) -> int | None:
    for scale in "亿万":
        high, found, low = numeral.rpartition(scale)
        if not found:
            continue
        times = _read_whole(high) if scale == "亿" else _read_section(high)
        if not times:
            return None
        unit = 10 ** _POWER[scale]
        if not low:
            return times * unit
        if len(low) == 1:
            return times * unit + _VALUE[low] * unit // 10 if low in DIGITS[1:] else None
        rest = _read_whole(low)
        return None if rest is None or rest >= unit else times * unit + rest
    return _read_section(numeral)


def _read_section(numeral: str) -> int | None:
    """The value of a numeral below 10,000."""
    if numeral in ("零", "两"):
        return _VALUE[numeral]
    found = _SECTION.fullmatch(numeral.removeprefix("零"))
    if not numeral or numeral == "零零" or found is None:
        return None
    thousands, hundreds, tens, ten, zero, ones = (part or "" for part in found.groups())
    unit = 1
    if ones and not zero and not ten:  # 三千五, 三百五
        unit = 10 if hundreds else 100 if thousands else 1
    return (
        1000 * _VALUE[thousands]
        + 100 * _VALUE[hundreds]
        + (10 * (_VALUE[tens] or 1) if ten else 0)
        + unit * _VALUE[ones]
    )


def _scale(scales: str) -> int | None:
    """The power of ten of 万, 百万, 万亿; None where scales fall, as in 亿万."""
    powers = [_POWER[scale] for scale in scales]
    rising = all(low < high for low, high in pairwise(powers))
    return sum(powers) if rising else None
