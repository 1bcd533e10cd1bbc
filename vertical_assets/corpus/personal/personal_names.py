"""Names of people and places where they live, Chinese and English, told by what stands around.

A name without a title, a label or an entry in a dictionary is not claimed: 高明 and 白雪 are words
as well, and a wrong claim would corrupt the text. Nor is a place without a number in a street or
building. Patterns are those of folded text: simplified Chinese, half width.
"""

import re
from functools import lru_cache

from vertical_assets.corpus.personal.recognizer import Recognizer, Span

# The commonest surnames (Ministry of Public Security, report of 2020), without those that are
# words or ends of words.
_SURNAME = (
    "王李张刘陈杨赵吴徐孙朱胡郭林罗梁宋郑韩唐冯董萧曹袁邓傅沈彭吕苏卢蒋蔡贾丁魏薛潘杜戴汪姜姚谭廖邹"
    "熊陆郝孔崔邱秦侯邵孟雷龙汤尹黎乔贺赖龚庞樊殷翟倪颜俞翁葛岳聂詹欧焦柳邢骆祝阮耿闫阎鲁韦柯裴莫冼"
)
# These are: 高(中), (班主)任, (历)史, (课)程, 谢(谢), (上)周. They need a clear left side.
_WORDLIKE = (
    "黄周高谢马何于曾叶程任范方石金白康毛江史顾万段钱易常武文夏钟田向温古明成时应余季安左连牛齐甘关包严"
    "陶伍全牟项卓褚娄窦管解路申车苗盛付许党宫景查米房计麦单凌丛华尚饶凤宁平甄司边肖"
)
_COMPOUND = (
    "欧阳|上官|司马|诸葛|司徒|夏侯|皇甫|尉迟|公孙|慕容|令狐|宇文|长孙|端木|东方|西门|南宫|轩辕|独孤"
)
# What follows a surname's look-alike rather than stands in a given name; 某 hides one already.
_NO_GIVEN = (
    "的了是在和与及或等个位名有不说就都很也来去这那你我他她它们被把从到给让对"
    "还没吗呢吧啊着过得地某老姓副"
)
_HAN = "[一-龥]"
_GIVEN = rf"[^\x00-䷿龦-{chr(0x10FFFF)}{_NO_GIVEN}]"
_ANY_SURNAME = f"(?:{_COMPOUND}|[{_SURNAME}{_WORDLIKE}])"
_CHINESE = f"{_ANY_SURNAME}{_GIVEN}{{1,2}}"
_TITLE = (
    "(?:先生|女士|小姐|太太|医生|大夫|医师|护士|主任|院长|教授|老师|同学|律师|经理|师傅|阿姨|法官)"
)
_LABEL = (
    "(?:姓名|名字|患者|病人|病患|联系人|收件人|收货人|寄件人|经办人|申请人|投保人|被保险人|受益人|委托人|家属"
    "|监护人|户主|产妇|主治医师|主治医生|责任医师|医师|医生|护士|签名|签字|员工|客户|学生|家长)"
)
_NEXT_LABEL = (
    "男|女|性别|年龄|电话|手机|身份证|出生|住址|地址|家住|联系|先生|女士|病历|住院|患者"
    "|医保|微信|邮箱|因"
)
_CLEAR_LEFT = r"(?:(?<![一-龥])|(?<=[请找问叫见给跟由经姓的和是]))"
# Words that begin like a name before a title: a star teacher, a middle-school teacher.
_WORDS = re.compile(
    "王[牌者]|孙[子女]|林[业区场]|胡[同乱]|陆[续军]|高[中级校年考三二一等]|金[牌融]|马[上]|方[面]|程序|文[化科]|任[课何]"
    "|明[星天]|成[人]|全[科职体]|平[时]|常[务]|苏[州]|江[苏西]|安[徽]|宁[波夏]|史[学]|温[州]|华[东南北]|时[候]|万[能]|向前|司机|谢谢|项目|计生|车间|安安|房东"
    "|许多|鲁中|.+[部堂店司委](?:经理|主任)"
)

_ENGLISH = r"(?:(?:Mc|Mac|O['’]|D['’])?[A-Z][a-z]+(?:-[A-Z][a-z]+)?)"
_FULL = rf"{_ENGLISH}(?: [A-Z]\.)?(?: {_ENGLISH}){{1,2}}"
_MAYBE_FULL = rf"{_ENGLISH}(?: [A-Z]\.)?(?: {_ENGLISH}){{0,2}}"
_NOT_ENGLISH = frozenset(
    [
        "Not",
        "None",
        "Unknown",
        "The",
        "This",
        "Number",
        "Date",
        "Phone",
        "Address",
        "Male",
        "Female",
    ]
)

_NUMBER = r"(?:[0-9]{1,5}(?:-[0-9]{1,5}){0,2}|[零〇一二三四五六七八九十百]{1,5}|[A-Za-z甲乙丙丁])"
_UNIT = "(?:号楼|号院|号|弄|栋|幢|座|单元|楼|层|室|房|组|户)"
_ROAD = "(?:路|街|大道|胡同|巷|村|屯|庄|小区|社区|花园|家园|公寓|大厦|广场|新村|大院|里|园|苑|坊)"
_HOUSE = (
    rf"[0-9零〇一二三四五六七八九十百]{{1,5}}(?:-[0-9]{{1,5}})?(?:号楼|号院|号|弄|栋|幢|座|单元|组)"
    rf"(?:(?:{_HAN}{{1,10}}(?:小区|社区|花园|家园|公寓|大厦|广场|新村|[园苑城楼村]))?"
    rf"(?: ?{_NUMBER} ?{_UNIT}){{1,5}})?(?:[0-9]{{2,4}})?"
)
_NOT_HOUSE = "(?!线|店|口|文|令|公路|种子|选手|出口|馆|门|站|机|球|台|车|病|型|字)"
_STREET = (
    "(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Terrace|Parkway"
    "|Pkwy|Circle|Crescent|Close|Square|Highway|Hwy|Place|Way)"
)
# What does not stand inside the name of a street but before it.
_LEAD = re.compile("[在到是的了于住址我你他她位往寄送去由离近这那有]")


def _title(match: re.Match[str]) -> Span | None:
    return None if _WORDS.match(match.string, match.start("v"), match.end()) else match.span("v")


def _english(match: re.Match[str]) -> Span | None:
    return None if match["v"].split(" ")[0] in _NOT_ENGLISH else match.span("v")


@lru_cache(maxsize=1)
def _regions() -> frozenset[str]:
    """Provinces, cities, districts and counties of China (python-stdnum's GB/T 2260), 2 to 11
    characters; provinces without 省 as well."""
    from stdnum import numdb

    names = set[str]()
    for _, _, _, province, counties in numdb.get("cn/loc").prefixes:
        full = province.get("province", "")
        names |= {full, re.sub("(?:[省市]|特别行政区|.{1,3}族自治区|自治区)$", "", full)}
        for _, _, _, county, _ in counties:
            names |= set(re.sub(r"\[[^\]]*\]", "", county.get("county", "")).split(","))
    return frozenset(name for name in names if len(name) > 1 and name != "市辖区")


def _region_end(text: str, start: int, end: int) -> int:
    """End of the chain of regions that begins at `start`; `start` where there is none."""
    regions, place = _regions(), start
    while place < end:
        for length in range(min(11, end - place), 1, -1):
            if text[place : place + length] in regions:
                place += length
                break
        else:
            break
    return place


def _chinese_address(match: re.Match[str]) -> Span | None:
    """From the first region before the street, or from where the street's name begins."""
    text, road = match.string, match.end("r")
    left = road
    while left > 0 and road - left < 40 and "一" <= text[left - 1] <= "龥":
        left -= 1
    for start in range(left, road):
        end = _region_end(text, start, road)
        if end > start and road - end <= 12 and not _LEAD.search(text, end, road):
            return start, match.end()
    if match["r"] in ("里", "园", "苑", "坊"):
        return None  # 这里2号: too common without a region before it
    leads = list(_LEAD.finditer(text, left, road))
    start = leads[-1].end() if leads else left
    named = road - start - len(match["r"])
    return (start, match.end()) if 1 <= named <= 6 and text[start:road] not in _NO_STREET else None


_NO_STREET = frozenset(
    ["马路", "公路", "铁路", "农村", "全村", "小街", "大街", "一路", "条路", "新村"]
)


def _labelled_address(match: re.Match[str]) -> Span | None:
    """What follows "地址：" up to the last thing that an address ends with."""
    start, end = match.span("v")
    text = match.string
    if cut := re.search("电话|联系|邮编|手机|姓名|微信", text[start:end]):
        end = start + cut.start()
    ends = list(
        re.finditer(r"[0-9A-Za-z]+|[号室栋幢座元楼层组户村路街巷弄区县镇乡]", text[start:end])
    )
    if not ends:
        return None
    end = start + ends[-1].end()
    street = re.search(f"{_ROAD}|[省市区县镇乡]", text[start:end]) and re.search(
        "[0-9一二三四五六七八九十]", text[start:end]
    )
    known = _region_end(text, start, end) - start >= 4
    return (start, end) if end - start >= 5 and (street or known) else None


NAMES = (
    Recognizer(
        "NAME",
        rf"(?P<v>(?:{_COMPOUND}|[{_SURNAME}]){_GIVEN}{{0,2}}?)[老副]?{_TITLE}",
        before="(?<![一两几每这那上])",
        group="names",
        accept=_title,
    ),
    Recognizer(
        "NAME",
        rf"(?P<v>[{_WORDLIKE}]{_GIVEN}{{0,2}}?)[老副]?{_TITLE}",
        before=_CLEAR_LEFT,
        group="names",
        accept=_title,
    ),
    Recognizer(
        "NAME",
        rf"{_LABEL}(?:姓名|名)?(?: {{0,2}}[:=] {{0,2}}| {{1,2}})(?P<v>{_CHINESE}"
        rf"|{_HAN}{{1,8}}(?:·{_HAN}{{1,8}}){{1,3}})",
        after=rf"(?:(?!{_HAN})|(?={_NEXT_LABEL}))",
        group="names",
    ),
    Recognizer(
        "NAME",
        rf"(?:患者|病人|病患|产妇|我叫|名叫|本人|姓名|名字叫|名字是)(?P<v>{_CHINESE})",
        after=r"(?=[,、 (]{0,2}(?:男|女|性别|年龄|[0-9]{1,3} ?岁))",
        group="names",
    ),
    Recognizer(
        "NAME",
        rf"(?:患者|病人|病患|产妇)(?P<v>(?:{_COMPOUND}|[{_SURNAME}]){_GIVEN}{{1,2}})"
        rf"|(?:我叫|名字叫|名字是)(?P<n>{_CHINESE})",
        after=r"(?=[,。;、(!?\n]|$)",
        group="names",
        accept=lambda match: match.span("v" if match["v"] else "n"),
    ),
    Recognizer(
        "NAME",
        rf"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor)\.? (?P<v>{_MAYBE_FULL})",
        before=r"(?<![A-Za-z])",
        after=r"(?![A-Za-z])",
        group="names",
        accept=_english,
    ),
    Recognizer(
        "NAME",
        r"(?i:patient(?:'s)? name|patient|full name|name|contact|attending|physician|doctor|nurse"
        rf"|guardian|insured|beneficiary|signed(?: by)?) ?: ?(?P<v>{_FULL}|{_ENGLISH}, {_ENGLISH})",
        before=r"(?<![A-Za-z])",
        after=r"(?![A-Za-z])",
        group="names",
        accept=_english,
    ),
    Recognizer(
        "NAME",
        rf"(?:[Mm]y|[Hh]is|[Hh]er|[Pp]atient's) name is (?P<v>{_MAYBE_FULL})",
        before=r"(?<![A-Za-z])",
        after=r"(?![A-Za-z])",
        group="names",
        accept=_english,
    ),
    Recognizer(
        "NAME",
        rf"(?P<v>{_FULL}),? (?:M\.?D\.?|R\.?N\.?|Ph\.?D\.?|D\.?O\.?)",
        before=r"(?<![A-Za-z])",
        after=r"(?![A-Za-z])",
        group="names",
        accept=_english,
    ),
)

ADDRESSES = (
    Recognizer(
        "ADDRESS",
        rf"(?P<r>{_ROAD}){_HOUSE}",
        after=_NOT_HOUSE,
        group="places",
        accept=_chinese_address,
    ),
    Recognizer(
        "ADDRESS",
        r"(?:地址|住址|家住|现住|居住地|户籍地) {0,2}(?::|是|在|为)? {0,2}"
        r"(?P<v>[一-的皅-龥][一-的皅-龥0-9A-Za-z#()-]{4,60})",
        group="places",
        accept=_labelled_address,
    ),
    Recognizer(
        "ADDRESS",
        r"[0-9]{1,5}[A-Za-z]? (?:[NSEW]\.? )?"
        r"(?:(?:[A-Z][a-z'’]+|St\.|[0-9]{1,3}(?:st|nd|rd|th)) ){1,4}"
        rf"{_STREET}(?:\.?,? (?:[Aa]pt|[Ss]uite|[Uu]nit|[Ff]lat|#)\.? ?[0-9A-Za-z]{{1,5}})?"
        r"(?:\.?, [A-Z][a-z]+(?: [A-Z][a-z]+){0,2})?(?:,? [A-Z]{2} [0-9]{5}(?:-[0-9]{4})?)?",
        before=r"(?<![0-9A-Za-z.-])",
        after=r"(?![0-9A-Za-z])",
        group="places",
    ),
)
