"""What a numeral in a text means depends on what stands around it (SPEC D10).

`TOKEN` finds numerals and steps over codes and weekdays; `Found` looks at the neighbours of one:
measure words, 分之, ranges, halves, clocks, dates, signs, lists.
"""

import re
from collections.abc import Iterator

from vertical_assets.corpus.cleaning.numeral_words import PLACES, QUANTITIES, UNIT, begins_word
from vertical_assets.corpus.cleaning.numerals import (
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

_LATIN = "mmHg|mmol|mg|kg|km|cm|mm|ml|mL|kW|GB|MB|KB|TB|kcal|IU|RMB|USD|元|g|m|L|W|V"
_QUANTITY = re.compile(
    rf" ?(?:{'|'.join(sorted(QUANTITIES.split('|'), key=len, reverse=True))}"
    rf"|(?:{_LATIN})(?![A-Za-z]))"
)
CURRENCY = tuple("¥￥$€£")
_CLOCK = re.compile(r"(?:上午|下午|早上|晚上|凌晨|中午|傍晚|清晨|早晨|夜里|夜间|今晚|深夜)$")

_ASCII = r"[A-Za-z0-9_]++(?:[._:/@\-+=#&?~]++[A-Za-z0-9_]++)*+"
_RUN = (
    rf"(?:{ARABIC}(?:{WORDS}++(?:s?\b)|(?: (?=[万亿]))?)|[{CHARACTERS}])++"
    rf"(?:点[{CHARACTERS}]++)?+"
)
# A plain number, perhaps the first of a range: neither a date, time, version, code nor an id.
_NUMBER = (
    rf"(?=[{CHARACTERS}]|\d+(?:,\d{{3}})*(?:\.\d+)?(?:[-~]\d+(?:,\d{{3}})*(?:\.\d+)?)?(?:{_LATIN})?"
    r"(?![A-Za-z0-9_]|[._:/@\-+=#&?~,][A-Za-z0-9_]))(?<![0-9][.,·])"
)
TOKEN = re.compile(
    rf"(?=[{CHARACTERS}星礼周初正腊冬负零第A-Za-z0-9_])(?:"  # seven times as fast with it
    rf"(?P<skip>(?:星期|礼拜|(?<![0-9{CHARACTERS}个])周)[一二三四五六](?![十百千万])"
    r"|(?:星期|礼拜|周)[一二三四五六](?=十[一二]?[点时月])"
    r"|初[一二三四五六七八九十](?!十)|[正腊冬]月[廿初]?[一二三四五六七八九十]+(?![日号]))"
    rf"|(?:(?P<sign>负|零下)|(?P<nth>第))?{_NUMBER}(?P<run>{_RUN})|(?P<code>{_ASCII}))",
    re.IGNORECASE | re.ASCII,
)
_SECOND = re.compile(
    rf"(?P<between>到|至|~|—{{1,2}}|-| to | or |或|分之){_NUMBER}(?P<run>{_RUN})",
    re.IGNORECASE | re.ASCII,
)
_HALF = re.compile(
    r"(?P<unit>个半(?=小时|月|钟头|世纪|学期|星期|百分点|[^\u4e00-\u9fff0-9A-Za-z]|$)"
    r"|(?:年|天|斤|公斤|里|米|岁|倍|公里|亩|尺|寸|吨|块|毛|圈|碗|杯|瓶|小时)半)"
)
_REST = re.compile(rf"[块米][{DIGITS[1:]}1-9](?![{CHARACTERS}几多0-9A-Za-z.,~%])")
_PLAIN = re.compile(r"[0-9.]+")
_LUNAR = re.compile(rf"月[{CHARACTERS}]+(?![{CHARACTERS}日号])")
_UNIT = re.compile(rf"[多余来]?(?:{UNIT.pattern}|两)")
_DEGREES = re.compile(r"[多余]?(?:摄氏)?度|℃|°")
_DAY = re.compile(rf"月(?:[{CHARACTERS}]+|\d+)[日号]")
_MIXED = re.compile(rf"又[{CHARACTERS}]+分之")
_KILO = re.compile("千[克米瓦卡伏帕赫焦]|百帕")
_FORMAL = re.compile(rf"(?=.*[拾佰仟万亿萬億])[{CAPITALS}零〇万亿萬億]{{2,}}")
_SCALED_WORDS = re.compile(rf"{WORDS}$", re.IGNORECASE)
_UNCLEAR = frozenset("几数%％‰负0123456789" + CHARACTERS)  # after a fraction
_DENOMINATOR = {"百": 2, "千": 3, "万": 4, "亿": 8}
_NUMERAL = frozenset(CHARACTERS)
_DIGIT = frozenset("一二三四五六七八九两0123456789")
_OPENING = frozenset("\n。；（(【 ")
_CLOSING = frozenset("、）)】")
_HEADING = re.compile(r"(?:^|[\n。；（(【 ])[0-9]{1,2}、$")
_SCALE_LEFT = re.compile(rf" [万亿]|{WORDS}", re.IGNORECASE)
_NICKNAMES = frozenset("小老阿")  # 小三, 老四
_DIGITS = _DIGIT | {"十"}
_AGAINST = frozenset("胜平正自抱肩担背欺辜不" + CHARACTERS)  # before 负 they make it a verb
NUMBERED = frozenset([*"章节条款项届期卷册页集回课号名位版", "季度"])
_PLACE_UNITS = frozenset(PLACES.split("|"))


class Found:
    """A numeral at [begin, end), with its sign or 第 from `start`, its measure word to `last`."""

    def __init__(self, text: str, token: re.Match[str], policy: Policy) -> None:
        self.text, self.policy = text, policy
        self.start, self.begin = token.start(), token.start("run")
        self._cut(_trim(text, token["run"], token.end("run")))
        self.sign, self.nth = token["sign"], bool(token["nth"])
        before = text[self.start - 1 : self.start]
        if self.sign == "负" and (before.isdigit() or before in _AGAINST):
            self.sign, self.start = None, self.begin - self.nth
        self.before = text[self.start - 1 : self.start]

    def written(self) -> str | None:
        """How it is to be written; None where it stays."""
        if self._vague():
            return None
        second = _SECOND.match(self.text, self.end)
        if second:
            both = self._fraction(second) if second["between"] == "分之" else self._range(second)
            if both or second["between"] == "分之" or self.sign:
                return both
        for reading in (self._half, self._rest, self._time, self._alone):
            if written := reading():
                return written
        hour, point, _ = self.run.partition("点")
        if not point or hour[0].isascii() or read(hour) is None:
            return None
        self._cut(hour)  # 两点|两人
        return self._alone()

    def _cut(self, run: str) -> None:
        self.run = run
        self.end = self.last = self.numeral_end = self.begin + len(run)
        self.second: tuple[int, int] | None = None

    def numerals(self) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Start and end of each numeral, and of it with its sign and measure word."""
        fraction = self.text.startswith("分之", self.numeral_end)
        if self.second is None:
            yield (self.begin, self.numeral_end), (self.start, self.last)
        elif fraction:
            yield (self.begin, self.second[1]), (self.start, self.last)
        else:
            yield (self.begin, self.numeral_end), (self.start, self.numeral_end)
            yield self.second, (self.second[0], self.last)

    def _alone(self) -> str | None:
        unit = self._unit(self.end)
        self.last = self.end + len(unit)
        written = self._one(self.run, self.end, unit)
        return self._signed(written, unit) if written else None

    def _vague(self) -> bool:
        """几十, 数十万, 十几, letters around, headings, and lists that share what follows."""
        text, before, after = self.text, self.before, self.text[self.end : self.end + 1]
        if self.start == self.begin and (before.isdigit() or before in _NUMERAL):
            return True  # left over from a numeral that could not be read
        if _SCALE_LEFT.match(text, self.end):
            return True
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
        if before in ("、", "或"):  # the scale or the measure word is shared: 三、五万, 十一、二点
            first = text[self.start - 2 : self.start - 1]
            counted = self.run[0] in CHARACTERS and _HEADING.search(text, 0, self.start)
            if first in _DIGITS and not counted:
                return True
        if self.nth and after == "、" and text[self.end + 1 : self.end + 2] in _DIGITS:
            return True
        if before in _NICKNAMES and len(self.run) == 1:
            return True
        if (
            before == "月"
            and after not in ("日", "号")
            and text[self.start - 2 : self.start - 1] in _DIGITS
        ):
            return True  # 八月十五 is a day of the moon's calendar
        if after == "月" and _LUNAR.match(text, self.end):
            month = read(self.run)
            return month is not None and month.below(Number(13))
        heading = not before or before in _OPENING
        return heading and after in _CLOSING and self.run[-1] not in "百千万亿"

    def _unit(self, end: int) -> str:
        """The measure word, with 多 before it."""
        if found := _UNIT.match(self.text, end):
            return found[0]
        # 三度 is also "for the third time".
        degrees = (len(self.run) > 1 or self.sign) and self.text.startswith("度", end)
        return "度" if degrees else ""

    def _signed(self, written: str, unit: str) -> str | None:
        if self.sign == "零下" and not (_DEGREES.match(self.text, self.end) or unit == "度"):
            self.start = self.begin
            return written
        return ("-" if self.sign else "第" if self.nth else "") + written

    def _write(self, number: Number, unit: str) -> str:
        """Ordinals, and dates and times below ten thousand, are digits under every policy."""
        small = unit.lstrip("多余来") in _PLACE_UNITS and number.below(Number(10**4))
        return write(number, "digits" if small or self.nth else self.policy)

    def _one(self, run: str, end: int, unit: str) -> str | None:
        """One numeral under a policy; digits where it is a date, time, year or telephone."""
        if run[0] in "0123456789":
            return self._arabic(run, end, unit)
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
            return self._write(number, unit)
        if (ends := read_approximate(run)) and not self.sign:
            low, high = ends
            if unit in ("年", "年代") or (not unit and split_scale(run)[1] == 0):
                return None  # 七八年 may be 1978, 十四五 a plan
            if run in ("一二", "一两"):
                return None
            return f"{self._write(low, unit)}~{self._write(high, unit)}"
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
            return unit in NUMBERED
        if unit in ("日", "号"):
            return self.before == "月"
        if unit in ("月", "月份"):
            return unit == "月份" or self.before == "年" or bool(_DAY.match(self.text, end))
        return unit in ("点", "点钟") and (unit == "点钟" or self.text[end + 1 : end + 2] == "半")

    def _digits(self, run: str, end: int) -> str | None:
        """Digits read one by one: years, telephones, room numbers, 八零后."""
        digits = read_digits(run)
        if digits is None or len(digits) == 1 or _QUANTITY.match(self.text, end):
            return None
        follows = self.text[end : end + 1]
        half = self.text[end + 1 : end + 2] == "半"
        year = follows == "年" and len(digits) in (2, 4) and not half
        known = re.fullmatch(r"1[5-9]\d\d|20\d\d|\d[0-9]0|\d0\d|\d{5,}", digits)
        decade = len(digits) == 2 and digits[1] in "05" and follows == "后"
        return digits if year or known or decade else None

    def _arabic(self, run: str, end: int, unit: str) -> str | None:
        number = read(run.removesuffix("s"))
        if number is None:
            return None
        plain = run.replace(".", "").isdigit()
        if plain and not self.sign:
            money = self.text[: self.start].rstrip(" ").endswith(CURRENCY)
            if not (money or _QUANTITY.match(self.text, end)):
                return None
        return self._write(number, unit)

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
        self.end = second.end("run")
        if lower is None or not lower.mantissa or None in upper or follows in _UNCLEAR:
            return None
        self.end = self.last = end
        self.second = second.start("run"), end
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
        """三到五个 -> 3到5个; the first part may share the scale: 三到五万 -> 30000到50000."""
        run = _trim(self.text, second["run"], second.end("run"))
        end = second.start("run") + len(run)
        unit = self._unit(end)
        low, high = read(self.run), read(run)
        if self.sign or {self.run, run} & set(CAPITALS) or low is None or high is None:
            return None
        if self.text[end : end + 1] in ("几", "数"):
            return None
        if shared := _share(self.run, low, run):
            low = shared
        else:
            single = len(self.run) == 1 and self.run in CHARACTERS  # 三到五百 may mean 300
            plain = _PLAIN.fullmatch(self.run) and _PLAIN.fullmatch(run)
            counted = (
                _QUANTITY.match(self.text, end) if plain else unit or not low.below(Number(10))
            )
            if not low.below(high) or not counted or (single and not high.below(Number(100))):
                return None
        self.end, self.last, self.second = end, end + len(unit), (second.start("run"), end)
        written = second["between"].join(self._write(number, unit) for number in (low, high))
        return ("第" if self.nth else "") + written

    def _half(self) -> str | None:
        """三个半小时 -> 3.5个小时, 两年半 -> 2.5年, 两万半 -> 25000."""
        number = read(self.run)
        if number is None or number.exponent < 0 or self.sign or self.nth:
            return None
        whole, power = number.mantissa * 10**number.exponent, split_scale(self.run)[1]
        if power >= 4 and self.text.startswith("半", self.end):
            unit, end, number = "", self.end + 1, Number(whole + 5 * 10 ** (power - 1))
        elif found := _HALF.match(self.text, self.end):
            unit, end, number = found["unit"][:-1], found.end(), Number(10 * whole + 5, -1)
        else:
            return None
        if self.text[end : end + 1] in _DIGITS | _NUMERAL or (
            unit != "个" and begins_word(self.text, end - 1)
        ):
            return None
        self.end = self.last = end
        return self._write(number, unit) + unit

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
        hours, minutes = read(hour), read(rest.lstrip("零〇"))
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
