"""Numbers in texts are written one way (SPEC D10); words that only contain numerals stay.

100万 becomes 1000000, 1,000,000 or 1e6; 百分之二十 becomes 20%, 二〇二四年五月一日 becomes 2024年5月1日.
A numeral is left alone wherever a dictionary word says that it is none (一心一意, 万一, 三七), where
it is part of a code (E11.9, B12), and where its value is in doubt: precision before recall.
What stays by policy: a single 一 before a measure word (一个), a single digit with no measure word
(三国), plain strings of Arabic digits that may be years, telephones or ids (grouping is only added
before a unit of quantity or after a currency sign), vague numbers (几十, 数百, 一两个), English words.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.corpus.numeral_words import (
    PLACES,
    QUANTITIES,
    UNIT,
    begins_word,
    in_word,
    numeric_terms,
)
from vertical_assets.corpus.numerals import (
    ARABIC,
    CAPITALS,
    CHARACTERS,
    DIGITS,
    SCALES,
    WORDS,
    Number,
    Policy,
    read,
    read_approximate,
    read_digits,
    split_scale,
    write,
)


class Change(NamedTuple):
    """One replacement: `original` is `text[start:end]` of the text that was given."""

    start: int
    end: int
    original: str
    written: str


_LATIN = "mmHg|mmol|mg|kg|km|cm|mm|ml|mL|kW|GB|MB|KB|TB|kcal|IU|RMB|USD|元|g|m|L|W|V"
_QUANTITY = re.compile(
    rf" ?(?:{'|'.join(sorted(QUANTITIES.split('|'), key=len, reverse=True))}"
    rf"|(?:{_LATIN})(?![A-Za-z]))"
)
_CURRENCY = tuple("¥￥$€£")
_CLOCK = re.compile(r"(?:上午|下午|早上|晚上|凌晨|中午|傍晚|清晨|早晨|夜里|夜间|今晚|深夜)$")

_HAN = CHARACTERS
_ASCII = r"[A-Za-z0-9_]++(?:[._:/@\-+=#&?~]++[A-Za-z0-9_]++)*+"
_RUN = rf"(?:{ARABIC}(?:{WORDS}++(?:s?\b)|(?: (?=[十百千万亿]))?)|[{_HAN}])++(?:点[{_HAN}]++)?+"
# A plain number, perhaps the first of a range: neither a date, time, version, code nor an id.
_NUMBER = (
    rf"(?=[{_HAN}]|\d+(?:,\d{{3}})*(?:\.\d+)?(?:[-~]\d+(?:,\d{{3}})*(?:\.\d+)?)?(?:{_LATIN})?"
    r"(?![A-Za-z0-9_]|[._:/@\-+=#&?~,][A-Za-z0-9_]))(?<![0-9][.,])"
)
_TOKEN = re.compile(
    rf"(?P<skip>(?:星期|礼拜|(?<![0-9{_HAN}个])周)[一二三四五六](?![十百千万])"
    r"|(?:星期|礼拜|周)[一二三四五六](?=十[一二]?[点时月])"
    r"|初[一二三四五六七八九十](?!十)|[正腊冬]月[廿初]?[一二三四五六七八九十]+(?![日号]))"
    rf"|(?P<sign>负|零下)?(?P<nth>第)?{_NUMBER}(?P<run>{_RUN})|(?P<code>{_ASCII})",
    re.IGNORECASE,
)
_SECOND = re.compile(
    rf"(?P<between>到|至|~|—{{1,2}}|-| to | or |或|分之){_NUMBER}(?P<run>{_RUN})", re.IGNORECASE
)
_HALF = re.compile(
    r"(?P<unit>个半(?=小时|月|钟头|世纪|学期|星期|百分点|[^\u4e00-\u9fff]|$)"
    r"|(?:年|天|斤|公斤|里|米|岁|倍|公里|亩|尺|寸|吨|块|毛|圈|碗|杯|瓶|小时)半)"
)
_REST = re.compile(rf"[块米][{DIGITS[1:]}](?![{_HAN}几多])")
_LUNAR = re.compile(rf"月[{_HAN}]+(?![{_HAN}日号])")
_LONG_UNIT = re.compile("度")  # after single digits 三度 is also "for the third time"
_DEGREES = re.compile(r"[多余]?(?:摄氏)?度|℃|°")
_DAY = re.compile(rf"月(?:[{_HAN}]+|\d+)[日号]")
_MIXED = re.compile(rf"又[{_HAN}]+分之")
_KILO = re.compile("千[克米瓦卡伏帕赫焦]|百帕")
_FORMAL = re.compile(rf"(?=.*[拾佰仟万亿萬億])[{CAPITALS}零〇万亿萬億]{{2,}}")
_SCALED_WORDS = re.compile(rf"{WORDS}$", re.IGNORECASE)
_DENOMINATOR = {"百": 2, "千": 3, "万": 4, "亿": 8}
_DIGIT = frozenset("一二三四五六七八九两0123456789")
_DIGITS = _DIGIT | {"十"}
_AGAINST = frozenset("胜平正自抱肩担背欺辜不")  # before 负 they make it a verb
_NUMBERED = frozenset("章 节 条 款 项 届 期 卷 册 页 集 回 课 号 名 位 版 季度".split())
_PLACE_UNITS = frozenset(PLACES.split("|"))
_FULL_WIDTH = str.maketrans("０１２３４５６７８９．～－", "0123456789.~-")
_FULL = re.compile("[０-９]")

_FIRSTS = "".join(sorted({unit[0] for unit in f"{QUANTITIES}|{PLACES}".split("|")}))
# A superset of what the rules below may change, in RE2 (no look-around).
_PREFILTER = (
    rf"[{_HAN.replace('一', '').replace('万', '').replace('千', '').replace('百', '')}]"
    rf"[{_HAN}点{_FIRSTS}度]|一[{_HAN}点年月日号块米斤天个倍小公到至~\-—里岁亩尺寸吨毛圈碗杯瓶分]"
    rf"|第[{_HAN}]|分之|负|零下|半|[0-9０-９] ?[{_HAN}块米,，]"
    r"|(?i:[0-9] (?:hundred|thousand|million|billion|trillion))"
    rf"|[0-9０-９]{{4}} ?(?:[A-Za-z{_FIRSTS}])|[¥￥$€£] ?[0-9０-９]{{4}}"
)


def normalize_numbers(
    text: str, policy: Policy, protected: frozenset[str] = frozenset()
) -> tuple[str, list[Change]]:
    """The text with its numbers written by the policy, and what was replaced, in order.

    `protected` holds terms that are never touched, e.g. those of the domain dictionaries. Offsets
    count characters of the given text. Doing it twice changes nothing more.
    """
    if policy == "keep":
        return text, []
    changes: list[Change] = []
    parts: list[str] = []
    place = 0
    for start, end, written in _numbers(text, policy, numeric_terms(protected)):
        if text[start:end] != written:
            changes.append(Change(start, end, text[start:end], written))
            parts += (text[place:start], written)
            place = end
    return ("".join(parts) + text[place:], changes) if changes else (text, [])


def normalize_batch(
    texts: pa.Array, policy: Policy, protected: frozenset[str] = frozenset()
) -> tuple[pa.Array, list[list[Change]]]:
    """`normalize_numbers` of every text (string, nulls stay); rows that cannot change cost next to
    nothing. Returns the texts and one list of changes a row.
    """
    rows: list[list[Change]] = [[] for _ in range(len(texts))]
    if policy == "keep":
        return texts, rows
    likely = pc.fill_null(pc.match_substring_regex(texts, _PREFILTER), False)
    indices = pc.indices_nonzero(likely)
    changed, replaced = [False] * len(texts), []
    for index, text in zip(indices.to_pylist(), texts.filter(likely).to_pylist(), strict=True):
        written, rows[index] = normalize_numbers(text, policy, protected)
        if rows[index]:
            changed[index] = True
            replaced.append(written)
    mask = pa.array(changed, pa.bool_())
    return pc.replace_with_mask(texts, mask, pa.array(replaced, texts.type)), rows


def _numbers(
    text: str, policy: Policy, protected: frozenset[str]
) -> Iterator[tuple[int, int, str]]:
    """Start, end and new writing of every number that is to be written; none overlap."""
    view = text.translate(_FULL_WIDTH) if _FULL.search(text) else text
    place = 0
    while token := _TOKEN.search(view, place):
        place = token.end()
        if token["run"] is None:
            continue
        found = _Found(view, token, policy)
        written = found.written()
        place = found.end
        if written is not None and not in_word(
            view, (found.begin, found.numeral_end), (found.start, found.last), protected
        ):
            yield found.start, found.end, written


class _Found:
    """A numeral found at [begin, end), with its sign or 第 from `start`, its measure word to `last`."""

    def __init__(self, text: str, token: re.Match[str], policy: Policy) -> None:
        self.text, self.policy = text, policy
        self.start, self.begin = token.start(), token.start("run")
        self.run = _trim(text, token["run"], token.end("run"))
        self.end = self.last = self.numeral_end = self.begin + len(self.run)
        self.sign, self.nth = token["sign"], bool(token["nth"])
        before = text[self.start - 1 : self.start]
        if self.sign == "负" and before and (before in _AGAINST or before in _HAN or before.isdigit()):
            self.sign, self.start = None, self.begin - self.nth
        self.before = text[self.start - 1 : self.start]

    def written(self) -> str | None:
        """How it is to be written; None where it stays."""
        if self._vague():
            return None
        second = _SECOND.match(self.text, self.end)
        if second:
            both = self._fraction(second) if second["between"] == "分之" else self._range(second)
            if both or second["between"] == "分之":
                return both
        for reading in (self._half, self._rest, self._time):
            if written := reading():
                return written
        unit = self._unit(self.end)
        self.last = self.end + len(unit)
        policy: Policy = "digits" if self.nth else self.policy
        written = self._one(self.run, self.end, unit, policy)
        return self._signed(written, unit) if written else None

    def _vague(self) -> bool:
        """几十, 数十万, 十几, letters around, a list's heading, and 三、五万, whose first part shares
        the scale.
        """
        text, before, after = self.text, self.before, self.text[self.end : self.end + 1]
        if before == "几" or (after and after in "几数"):
            return True
        if before and before in "数上好" and self.run.startswith(("十", "10")):
            return True
        if (before.isascii() and before.isalpha()) or before == "_":
            return True
        if re.match(r"[A-Za-z_]", after) and not _QUANTITY.match(text, self.end):
            return True
        if re.search(r"\d (?:and|or) $", text[max(0, self.start - 6) : self.start]):
            return True
        if before in ("、", "或") and text[self.start - 2 : self.start - 1] in _DIGIT:
            return split_scale(self.run)[1] > 1
        if before == "月" and after not in ("日", "号") and text[self.start - 2 : self.start - 1] in _DIGITS:
            return True  # 八月十五 is a day of the moon's calendar
        if after == "月" and _LUNAR.match(text, self.end):
            return True
        heading = not before or before in "\n。；（(【 "
        return (
            heading and after in ("、", "）", ")", "】") and read_digits(self.run[-1:]) is not None
        )

    def _unit(self, end: int) -> str:
        found = UNIT.match(self.text, end) or _LONG_UNIT.match(self.text, end)
        return found[0] if found else ""

    def _signed(self, written: str, unit: str) -> str | None:
        if self.sign == "零下" and not (_DEGREES.match(self.text, self.end) or unit == "度"):
            self.start = self.begin
            return written
        return ("-" if self.sign else "第" if self.nth else "") + written

    def _one(self, run: str, end: int, unit: str, policy: Policy) -> str | None:
        """One numeral under a policy; digits where it is a date, time, year or telephone."""
        if run[0] in "0123456789":
            return self._arabic(run, end, policy)
        if any(character in CAPITALS for character in run) and not _FORMAL.fullmatch(run):
            return None
        if len(run) == 1:
            if run in SCALES[1:] or not (unit or self.nth or self._signs_single(end)):
                return None
            if run in "一壹幺" and not self._one_counts(end, unit):
                return None
            if run in "零〇○":
                return None
        number = read(run)
        if number is not None:
            if "点" in run and not unit and len(run.rpartition("点")[2]) == 1:
                follows = self.text[end : end + 1]
                if "\u4e00" <= follows <= "\u9fff":
                    return None  # 三点一是..., 三点一定
            if "点" in run and unit in ("分", "点", "刻"):
                return None
            small = unit in _PLACE_UNITS and number.below(Number(10**4))
            return write(number, "digits" if small else policy)
        if ends := read_approximate(run):
            low, high = ends
            if unit in ("年", "年代") or (not unit and split_scale(run)[1] == 0):
                return None  # 七八年 may be 1978, 十四五 a plan
            if run in ("一二", "一两"):
                return None
            return f"{write(low, policy)}~{write(high, policy)}"
        return self._digits(run, end)

    def _signs_single(self, end: int) -> bool:
        """Whether a sign or a mixed fraction makes a single digit a number."""
        if self.sign:
            follows = self.text[end : end + 1]
            return follows in ("度", "℃", "°") or not "\u4e00" <= follows <= "\u9fff"
        return _MIXED.match(self.text, end) is not None

    def _one_counts(self, end: int, unit: str) -> bool:
        """A single 一 stays, except in dates, times and numbered parts."""
        if self.nth:
            return unit in _NUMBERED
        if unit in ("日", "号"):
            return self.before == "月"
        if unit in ("月", "月份"):
            return unit == "月份" or self.before == "年" or bool(_DAY.match(self.text, end))
        return unit in ("点", "点钟") and (unit == "点钟" or self.text[end + 1 : end + 2] == "半")

    def _digits(self, run: str, end: int) -> str | None:
        """Digits read one by one: years, telephones, room numbers, 八零后."""
        digits = read_digits(run)
        if digits is None or digits in "0123456789":
            return None
        follows = self.text[end : end + 1]
        year = follows == "年" and len(digits) in (2, 4)
        known = re.fullmatch(r"1[5-9]\d\d|20\d\d|\d[0-9]0|\d0\d|\d{5,}", digits)
        decade = len(digits) == 2 and digits[1] in "05" and follows == "后"
        return digits if year or known or decade else None

    def _arabic(self, run: str, end: int, policy: Policy) -> str | None:
        number = read(run.removesuffix("s"))
        if number is None:
            return None
        plain = run.replace(".", "").isdigit()
        if plain and not self.sign:
            money = self.text[: self.start].rstrip(" ").endswith(_CURRENCY)
            if not (money or _QUANTITY.match(self.text, end)):
                return None
        return write(number, policy)

    def _fraction(self, second: re.Match[str]) -> str | None:
        """百分之二十 -> 20%, 千分之三 -> 3‰, 三分之一 -> 1/3."""
        run = _trim(self.text, second["run"], second.end("run"))
        end = second.start("run") + len(run)
        ends = read_approximate(run)
        upper = (Number(100),) if run == self.run == "百" else ends or (read(run),)
        lower = (
            Number(1).scaled(_DENOMINATOR[self.run]) if self.run in _DENOMINATOR else read(self.run)
        )
        follows = self.text[end : end + 1]
        if lower is None or not lower.mantissa or None in upper or follows in ("几", "数"):
            return None
        self.end = self.last = end
        texts = [write(number, "digits") for number in upper if number]
        if self.run in "百千":
            third = _SECOND.match(self.text, end)
            if third and third["between"] != "分之" and (high := read(third["run"])):
                self.end = self.last = third.end()
                sign = "%" if self.run == "百" else "‰"
                return f"{texts[0]}{sign}{third['between']}{write(high, 'digits')}{sign}"
            return "~".join(text + ("%" if self.run == "百" else "‰") for text in texts)
        return "~".join(f"{text}/{write(lower, 'digits')}" for text in texts)

    def _range(self, second: re.Match[str]) -> str | None:
        """三到五万 -> 30000到50000: the first part shares the second's scale; 三到五个 -> 3到5个."""
        run = _trim(self.text, second["run"], second.end("run"))
        end = second.start("run") + len(run)
        unit = self._unit(end)
        low, high = read(self.run), read(run)
        if low is None or high is None or self.text[end : end + 1] in ("几", "数"):
            return None
        between = second["between"]
        if shared := _share(self.run, low, run):
            parts = write(shared, self.policy), write(high, self.policy)
        elif not low.below(high) or (len(self.run) == 1 and split_scale(run)[1] > 1):
            return None
        elif unit or (len(self.run) > 1 < len(run)):
            plain = self.run.isdigit() and run.isdigit()
            if plain and not _QUANTITY.match(self.text, end):
                return None
            policy: Policy = "digits" if unit in _PLACE_UNITS or self.nth else self.policy
            parts = write(low, policy), write(high, policy)
        else:
            return None
        self.end, self.last = end, end + len(unit)
        return self._signed(between.join(parts), unit) if self.sign != "零下" else None

    def _half(self) -> str | None:
        """三个半小时 -> 3.5个小时, 两年半 -> 2.5年, 两万半 -> 25000."""
        number = read(self.run)
        if number is None or number.exponent < 0 or self.sign or self.nth:
            return None
        power = split_scale(self.run)[1]
        found = _HALF.match(self.text, self.end)
        if power >= 4 and self.text.startswith("半", self.end):
            found, half, unit = None, self.end, ""
            number = Number(number.mantissa * 10**number.exponent * 10 + 5 * 10**power, -1).scaled(
                0
            )
            end = self.end + 1
        elif found:
            unit, end, half = found["unit"][:-1], found.end(), found.end() - 1
            number = Number(number.mantissa * 10**number.exponent * 10 + 5, -1)
        else:
            return None
        if unit != "个" and begins_word(self.text, half):
            return None
        self.end = self.last = end
        number = number.scaled(1).scaled(-1) if not unit else number
        return write(number, self.policy) + unit

    def _rest(self) -> str | None:
        """三块五 -> 3.5块, 一米八 -> 1.8米."""
        found = _REST.match(self.text, self.end)
        number = read(self.run)
        if found is None or number is None or number.exponent < 0 or self.sign or self.nth:
            return None
        rest = read_digits(found[0][1]) or found[0][1]
        if begins_word(self.text, found.end() - 1) or self._unit(found.end()):
            return None
        self.end = self.last = found.end()
        whole = number.mantissa * 10**number.exponent
        return write(Number(int(f"{whole}{rest}"), -1), self.policy) + found[0][0]

    def _time(self) -> str | None:
        """三点十五分 -> 3点15分; the rest of the times are numerals with measure words."""
        hour, point, rest = self.run.partition("点")
        if not point:
            return None
        hours, minutes = read(hour), read(rest)
        follows = self.text[self.end : self.end + 1]
        clock = _CLOCK.search(self.text[max(0, self.start - 2) : self.start])
        timely = "十" in rest or (follows == "分" and rest[0] in "零〇") or follows == "刻" or clock
        if hours is None or minutes is None or not timely:
            return None
        if hours.exponent or minutes.exponent or hours.mantissa > 24 or minutes.mantissa > 59:
            return None
        self.last = self.end + (follows in ("分", "刻"))
        zero = "0" if rest[0] in "零〇" else ""
        return f"{hours.mantissa}点{zero}{minutes.mantissa}"


def _trim(text: str, run: str, end: int) -> str:
    """Without 千 of 千克, 千瓦 and without 两, the measure of weight, at its end."""
    run = run.rstrip(" ")
    if run[-1] == "两" and len(run) > 1 and run != "一两":
        return run[:-1]
    if run[-1] in "千百" and len(run) > 1 and _KILO.match(text, end - 1):
        simple = len(run) == 2 or re.fullmatch(r"[\d,.]+", run[:-1])
        if simple or read(run) is None:
            return run[:-1].rstrip(" ")
    return run


def _share(run: str, low: Number, other: str) -> Number | None:
    """三 of 三到五万 with the scale of the other part; None where it has none to share."""
    whole = re.search(r"[百千][万亿]*$", other)
    if low.exponent <= 0 and whole and low.below(Number(10)):
        head, power = other[: whole.start()], sum(split_scale("一" + c)[1] for c in whole[0])
    else:
        head, power = split_scale(other)
        if power < 4 and not _SCALED_WORDS.search(other):
            return None
    high = read(head) if head else None
    if (
        high is None
        or not low.below(high)
        or re.search(r"[万亿萬億]|million|thousand|billion", run)
    ):
        return None
    return low.scaled(power)
