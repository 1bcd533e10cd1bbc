"""Words with numerals in them that are no numbers: 一心一意, 万一, 百货, 十二指肠 (SPEC D10).

Which words they are is read from jieba's dictionary; only what that lacks is listed here.
"""

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from vertical_assets.corpus.cleaning.numerals import CHARACTERS

# Measure words that make a single digit before them a number, by kind. GB/T 15835-2011 writes
# numbers of quantity, dates and times in Arabic digits.
QUANTITIES = (
    "万元|元|块钱|块|毛钱|毛|分钱|美元|欧元|英镑|日元|港元|港币|韩元|澳元|加元|法郎|马克|卢布|人民币|公斤|千克|"
    "毫克|微克|克|斤|吨|磅|盎司|公里|千米|厘米|毫米|分米|微米|纳米|公分|米|丈|尺|寸|英里|英尺|英寸|海里|平方公里|"
    "平方千米|平方厘米|平方米|平方|平米|立方厘米|立方米|立方|公顷|英亩|亩|毫升|公升|升|千瓦时|千瓦小时|千瓦|"
    "兆瓦|瓦|千伏|大卡|千卡|卡路里|字节|摄氏度|百分点|倍|人次|架次|台次|个|位|名|人|件|条|张|本|部|家|"
    "辆|台|只|支|枝|座|栋|幢|间|套|批|组|双|副|份|根|棵|株|朵|颗|粒|滴|片|杯|碗|瓶|盒|袋|包|箱|桶|罐|盘|"
    "壶|艘|架|匹|封|幅|顿|户|股|枚|篇|句|段|首|种|类|项|次|回|遍|趟|场|圈|步|户|所|群|款|册|盏|桌|例"
)
PLACES = (
    "周年|年级|年代|年|个月|月份|月|周岁|岁|星期|礼拜|周|日|天|号|点钟|点|小时|钟头|分钟|分|秒钟|秒|刻|世纪|"
    "届|期|季度|季|集|章|页|层|楼|级|轮|折|对|把|卷"
)
UNIT = re.compile("|".join(sorted(f"{QUANTITIES}|{PLACES}".split("|"), key=len, reverse=True)))

# Lexical uses that jieba's dictionary does not list, or that read like a number.
_OWN = frozenset(
    re.findall(
        r"\w+",
        "十分 十万分 十二分 十一 二百五 两点一线 三次元 三分天下 三分热度 九分裤 十七大 十三香 "
        "十三妹 三毛 十七史 二十五史 十三阿哥 三折页 三把火 三只松鼠 张三 王五 赵六",
    )
)
_MERE_COUNT = re.compile(
    rf"第?[{CHARACTERS}][{CHARACTERS}点]*(?:分之[{CHARACTERS}点]+)?[多余几来]?(?:个半)?"
    rf"(?:{UNIT.pattern}|度)?半?"
)
_WINDOW = 8  # characters of the longest dictionary word that is looked for


@lru_cache(maxsize=1)
def lexicon() -> frozenset[str]:
    """Words with a numeral in them that are no numbers, from the dictionary of jieba.

    Words that are only a number and a measure word (三十岁) are not among them. Raises
    FileNotFoundError where the package jieba is not installed.
    """
    found = find_spec("jieba")
    if found is None or found.origin is None:
        raise FileNotFoundError(
            "normalising numbers reads the dictionary of the package jieba, which is not installed"
        )
    entries = (Path(found.origin).parent / "dict.txt").read_text(encoding="utf-8")
    words = re.findall(rf"^(\S*[{CHARACTERS}半]\S*) ", entries, re.MULTILINE)
    return _OWN | {
        word for word in words if 1 < len(word) <= _WINDOW and not _MERE_COUNT.fullmatch(word)
    }


@lru_cache(maxsize=8)
def numeric_terms(protected: frozenset[str]) -> frozenset[str]:
    """The protected terms that have a numeral in them and could be touched at all."""
    return frozenset(term for term in protected if re.search(rf"[{CHARACTERS}半\d]", term))


@lru_cache(maxsize=8)
def _width(protected: frozenset[str]) -> int:
    return max(_WINDOW, max(map(len, protected), default=0))


def in_word(
    text: str, numeral: tuple[int, int], whole: tuple[int, int], protected: frozenset[str]
) -> bool:
    """Whether a word, rather than a number, owns the numeral at `numeral` within `text`.

    `whole` is the numeral with its measure word. A protected term that overlaps the numeral always
    wins. A dictionary word wins if it covers the whole or takes away the numeral's end (两千|万能);
    if it takes away the beginning (李四|个), the longer one wins: 十分 is a word, 十分钟 none.
    """
    begin, end = numeral
    first, last = whole
    words = lexicon()
    width = _width(protected)
    for left in range(max(0, begin - width + 1), end):
        for right in range(max(left + 2, begin + 1), min(len(text), left + width) + 1):
            word = text[left:right]
            if word in protected:
                return True
            if word not in words:
                continue
            if left <= first and right >= last:
                return True
            if (left >= first and right > last) or (left < first and right - left >= last - first):
                return True
    return False


def begins_word(text: str, place: int) -> bool:
    """Whether a dictionary word with a numeral in it begins there (半夜, 一起)."""
    words = lexicon()
    return any(text[place : place + size] in words for size in range(2, _WINDOW + 1))
