"""Numerals are read as Chinese grammar has it, exactly, and written without loss."""

from fractions import Fraction

import cn2an
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.corpus.cleaning.numerals import (
    Number,
    read,
    read_approximate,
    read_digits,
    write,
)


def value(number: Number) -> Fraction:
    return number.mantissa * Fraction(10) ** number.exponent


@settings(max_examples=80, deadline=None)
@given(
    number=st.integers(0, 10**16 - 1)
    | st.lists(st.sampled_from("0012"), min_size=1, max_size=15).map(
        lambda d: int("1" + "".join(d))
    )
)
def test_what_cn2an_writes_is_read_back(number: int) -> None:
    for mode in ("low", "up"):
        assert read(cn2an.an2cn(number, mode)) == Number(number)
    assert read_digits(cn2an.an2cn(number, "direct")) == str(number)


@settings(max_examples=80, deadline=None)
@given(mantissa=st.integers(-(10**18), 10**18), exponent=st.integers(-6, 20))
def test_every_policy_denotes_the_same_value(mantissa: int, exponent: int) -> None:
    number = Number(mantissa, exponent)
    digits = write(number, "digits")
    assert Fraction(digits) == Fraction(write(number, "scientific")) == value(number)
    assert write(number, "grouped").replace(",", "") == digits
    assert len(write(number, "scientific")) <= len(digits)


# numeral -> value; cn2an reads the same unless the numeral is in UNKNOWN_TO_CN2AN
VALUES = {
    "零": 0, "十": 10, "十二": 12, "一十二": 12, "二十": 20, "一百": 100, "一百零五": 105,
    "一百一十": 110, "一百二十三": 123, "两百": 200, "三千零五": 3005, "三千零五十": 3050,
    "三千五百": 3500, "一万": 10**4, "一万零一": 10001, "十二万三千": 123000, "两万五千": 25000,
    "一百万": 10**6, "三百零五万": 3050000, "一千二百三十四万五千六百七十八": 12345678,
    "一亿": 10**8, "一亿零五百万": 105 * 10**6, "三亿五千万": 350 * 10**6, "一万亿": 10**12,
    "九百九十九亿九千九百九十九万九千九百九十九": 99999999999, "壹仟贰佰叁拾": 1230,
    "肆万伍仟": 45000, "三百五": 350, "三千五": 3500, "两万五": 25000, "三亿五": 350 * 10**6,
    "三萬": 30000, "五億": 5 * 10**8, "廿三": 23, "卅": 30, "一百十": 110,
    "一百十一万": 1110000, "〇": 0, "一千二十": 1020,
}  # fmt: skip
UNKNOWN_TO_CN2AN = {"三亿五", "卅"}  # it reads 10,000,000 with an error, and none


@pytest.mark.parametrize(("numeral", "expected"), VALUES.items())
def test_whole_numerals(numeral: str, expected: int) -> None:
    number = read(numeral)
    assert number is not None
    assert value(number) == expected
    if numeral not in UNKNOWN_TO_CN2AN:
        assert cn2an.cn2an(numeral, "smart") == expected


@pytest.mark.parametrize(
    ("numeral", "expected"),
    [
        ("三点一四", "3.14"),
        ("三点五〇", "3.50"),  # decimals stay as precise as they were written
        ("零点五", "0.5"),
        ("三点五万", "35000"),
        ("一点二五亿", "125000000"),
        ("3.5亿", "350000000"),
        ("1,000.5万", "10005000"),
        ("1.23456万", "12345.6"),
        ("3千5百", "3500"),
        ("3千5", "3500"),
        ("1万2000", "12000"),
        ("1亿2000万", "120000000"),
        ("1.5 million", "1500000"),
        ("2 hundred thousand", "200000"),
        ("123456789012345678901234567890万", "1234567890123456789012345678900000"),
    ],
)
def test_decimals_and_mixed_numerals(numeral: str, expected: str) -> None:
    number = read(numeral)
    assert number is not None
    assert write(number, "digits") == expected


@pytest.mark.parametrize(
    "text",
    ["", "万", "百万", "二三", "十十", "三万万万一二", "亿万", "零八", "二〇二四", "三点",
    "三点十", "1万20",
     "1.5万3.5", "01", "1,00", "千", "三百百", "一二三四五", "3万5亿", "九" * 61],
)  # fmt: skip
def test_what_is_no_numeral(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [("三四", 3, 4), ("两三百", 200, 300), ("三四十", 30, 40), ("十七八", 17, 18),
     ("二十五六", 25, 26), ("一百二三十", 120, 130), ("三四百万", 3 * 10**6, 4 * 10**6),
     ("三五百", 300, 500), ("一两百", 100, 200), ("八九十", 80, 90), ("三万五六", 35000, 36000)],
)  # fmt: skip
def test_approximate_numerals(text: str, low: int, high: int) -> None:
    assert read_approximate(text) == (Number(low), Number(high))


@pytest.mark.parametrize(
    "text", ["三", "三七", "九五", "十三五", "五六七", "四三十", "三百", "二三四五"]
)
def test_what_is_not_approximate(text: str) -> None:
    assert read_approximate(text) is None


@pytest.mark.parametrize(
    ("number", "scientific", "grouped"),
    [
        (Number(9999), "9999", "9,999"),
        (Number(2, 4), "2e4", "20,000"),
        (Number(12345), "12345", "12,345"),
        (Number(105, 5), "1.05e7", "10,500,000"),
        (Number(10005, 3), "10005000", "10,005,000"),  # 1.0005e7 is no shorter
        (Number(12345, -1), "1234.5", "1,234.5"),
        (Number(-3, 6), "-3e6", "-3,000,000"),
    ],
)
def test_how_policies_write(number: Number, scientific: str, grouped: str) -> None:
    assert write(number, "scientific") == scientific
    assert write(number, "grouped") == grouped
