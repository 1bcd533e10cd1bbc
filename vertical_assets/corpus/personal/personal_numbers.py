"""Numbers and addresses of the net that belong to one person, Chinese and English.

Checksums, regions and dates decide where a number has them (python-stdnum, phonenumbers); a word
of context where it has none. An organisation's numbers (unified social credit code) are left.
"""

import datetime
import ipaddress
import re
from collections.abc import Callable

from vertical_assets.corpus.personal.recognizer import Recognizer, Span, valid, value_span

_IS = r" {0,2}(?:[:=#]|-{1,2}|是|为|is)? {0,2}"
_NO = r"(?:号码|编号|号|码)?(?: ?(?:number|no\.?|id))?"
# Numbers followed by these count something; number normalisation makes 138亿 look like a phone.
_UNITS = (
    r"(?! ?(?:元|块|美元|美金|港元|欧元|日元|英镑|万|亿|吨|公斤|股|平方|公里|%|RMB|USD|CNY|kg|km))"
)
_NO_DIGIT_BEFORE = r"(?<![0-9])(?<![0-9]\.)(?<![¥$€£])"
# An article or order number may begin with letters; a label may touch the phone number.
_PHONE_BEFORE = (
    _NO_DIGIT_BEFORE
    + r"(?:(?<![A-Za-z_-])|(?<=(?i:tel))|(?<=(?i:phone))|(?<=(?i:mobile))|(?<=(?i:qq|vx)))"
)
_PHONE_AFTER = r"(?![0-9])(?!\.[0-9])" + _UNITS
_IDENTIFIER = r"(?P<v>[A-Za-z]{0,4}-?[0-9]{4,20}[0-9A-Za-z]{0,8}(?:-[0-9A-Za-z]{1,12}){0,3})"


def digits(value: str) -> str:
    """The digits of a number written in any way."""
    return re.sub(r"[^0-9]", "", value)


def e164(value: str, regions: tuple[str | None, ...] = ("CN", "US", "GB")) -> str | None:
    """A phone number as ITU-T E.164 writes it, by the first region where it is valid."""
    import phonenumbers

    for region in regions:
        try:
            number = phonenumbers.parse(value, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return None


def _phone_of(*regions: str | None) -> Callable[[re.Match[str]], Span | None]:
    return valid(lambda value: not _round(value) and e164(value, regions) is not None)


def _round(value: str) -> bool:
    """Six noughts at the end: an amount, not a phone."""
    return digits(value).endswith("000000")


def _said_phone(value: str) -> bool:
    """After "电话" anything goes but amounts and dates."""
    return not _round(value) and not re.fullmatch(r"(19|20)\d\d(0[1-9]|1[012])\d\d", digits(value))


def resident_identity(value: str) -> bool:
    """GB 11643-1999: check character (ISO 7064 MOD 11-2), birth date, a known province.

    Counties are not compared: they are renamed and founded long after their people are born.
    """
    from stdnum import numdb
    from stdnum.cn import ric
    from stdnum.exceptions import ValidationError

    number = value.replace(" ", "").upper()
    try:
        ric.get_birth_date(number)
    except ValidationError:
        return False
    known = "province" in numdb.get("cn/loc").info(number[:2])[0][1]
    return known and ric.calc_check_digit(number) == number[-1]


def _old_identity(value: str) -> bool:
    """15 digits, as issued until 1999: no check character, years without a century."""
    from stdnum import numdb

    known = "province" in numdb.get("cn/loc").info(value[:2])[0][1]
    return known and _date(1900 + int(value[6:8]), int(value[8:10]), int(value[10:12]))


def _date(year: int, month: int, day: int) -> bool:
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True


_ISSUERS = re.compile(
    # ISO/IEC 7812 issuers: UnionPay, Visa, Mastercard, American Express, JCB, Diners Club,
    # Discover, Maestro; 9558 is ICBC's old range.
    r"62\d{14,17}|9558\d{15}|4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d"
    r"|7[01]\d|720)\d{12}|3[47]\d{13}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}"
    r"|6(?:011|4[4-9]\d|5\d\d)\d{12}|(?:50|5[6-8]|63|67)\d{10,17}"
)


def _bank_card(value: str) -> bool:
    return _luhn(value) and _ISSUERS.fullmatch(digits(value)) is not None


def _luhn(value: str) -> bool:
    from stdnum import luhn

    number = digits(value)
    return 12 <= len(number) <= 19 and len(set(number)) > 1 and luhn.is_valid(number)


def _public_ip(match: re.Match[str]) -> Span | None:
    """An IPv4 address; 1.2.3.4 may as well be a chapter or a version, unless it says "IP"."""
    value = match["v"]
    try:
        address = ipaddress.IPv4Address(value)
    except ValueError:
        return None
    meant = match["c"] is not None or address.is_private or len(digits(value)) > 6
    nobody = address.is_loopback or address.is_unspecified or address.is_multicast
    return match.span("v") if meant and not nobody else None


def _ipv6(value: str) -> bool:
    """Global unicast, unique local and link local (RFC 4291, 4193); `a::b` alone is C++."""
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return address.packed[0] >> 5 == 1 or address.packed[0] >> 1 == 126 or address.is_link_local


def _us_ssn(value: str) -> bool:
    from stdnum.us import ssn

    return bool(ssn.is_valid(digits(value)))


def _wechat(match: re.Match[str]) -> Span | None:
    """A word without digits after "微信" is only an id where a colon or 号 says so."""
    said = match["s"].strip() != ""
    return value_span(match) if said or re.search("[0-9_]", match["v"]) else None


_YEAR = r"(?:(?:18|19|20)[0-9]{2}|[一二][零〇一二三四五六七八九]{3})"
_MONTH = r"(?:1[0-2]|0?[1-9]|十?[一二三四五六七八九]|十)"
_DAY = r"(?:[12][0-9]|3[01]|0?[1-9]|[一二三]?十?[一二三四五六七八九]|[二三]?十)"
_MONTH_NAME = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\.?"
)
_DATE = (
    rf"(?:{_YEAR}(?: ?年 ?{_MONTH} ?月(?: ?{_DAY} ?[日号]?)?|[-/.]{_MONTH}[-/.]{_DAY}"
    rf"|(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))"
    rf"|[0-9]{{1,2}}[-/.][0-9]{{1,2}}[-/.](?:[0-9]{{4}}|[0-9]{{2}})"
    rf"|{_MONTH_NAME} [0-9]{{1,2}}(?:st|nd|rd|th)?,? [0-9]{{4}}"
    rf"|[0-9]{{1,2}} {_MONTH_NAME},? [0-9]{{4}})"
)


def _real_date(value: str) -> bool:
    """Whether the calendar has it, where it is written year first."""
    compact = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", value)
    parts = compact.groups() if compact else re.findall(r"\d+", value)
    if len(parts) < 3 or len(parts[0]) != 4:
        return True
    return _date(*map(int, parts[:3]))


def _named_number(match: re.Match[str]) -> Span | None:
    """A number with a name, but not the year or date that 住院 and its kin are followed by."""
    value = match["v"]
    date = re.fullmatch(r"(19|20)\d\d(-?(0[1-9]|1[012])(-?[0-3]\d)?)?", value)
    said = re.search(r"[:=#号]", match[0])
    if (date and not said) or match.string.startswith("年", match.end()):
        return None
    return match.span("v")


NUMBERS = (
    Recognizer(
        "ID_CARD",
        r"[1-9][0-9]{5} ?(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]) ?"
        r"[0-9]{3}[0-9Xx]",
        before=r"(?<![0-9A-Za-z])",
        after=r"(?![0-9A-Za-z])",
        accept=valid(resident_identity),
    ),
    Recognizer(
        "ID_CARD",
        rf"(?:身份证|证件|公民身份)(?:号码|编号|号)?{_IS}"
        r"(?P<v>[1-9][0-9]{7}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3})",
        after=r"(?![0-9A-Za-z])",
        accept=valid(_old_identity),
    ),
    Recognizer(
        "PHONE",
        r"(?:(?:\+|00)?86[ -]?|\(\+?86\) ?)?(?:1[3-9][0-9](?:[ -]?[0-9]{4}[ -]?[0-9]{4}"
        r"|[ -][0-9]{3}[ -][0-9]{5}|\.[0-9]{4}\.[0-9]{4})|1[3-9][0-9]{2}[ -][0-9]{3}[ -][0-9]{4}"
        r"|1[3-9][0-9]{3}[ -][0-9]{6})",
        before=_PHONE_BEFORE,
        after=_PHONE_AFTER,
        accept=valid(lambda value: not _round(value)),
    ),
    Recognizer(
        "PHONE",
        r"(?P<v>(?P<n>(?:\+86[ -]?|\(\+?86\) ?)?(?:\(0[0-9]{2,3}\) ?|0[0-9]{2,3}[ -])"
        r"[2-9][0-9]{2,3}[ -]?[0-9]{4})(?:(?: ?转 ?|-| ?ext\.? ?)[0-9]{1,6})?)",
        before=_PHONE_BEFORE,
        after=_PHONE_AFTER,
        accept=lambda match: (
            match.span("v") if e164(match["n"].replace("(0", "0"), ("CN",)) else None
        ),
    ),
    Recognizer(
        "PHONE",
        r"[48]00(?:-[0-9]{3}-?[0-9]{4}|-[0-9]{4}-?[0-9]{3}|[0-9]-[0-9]{3}-[0-9]{3}"
        r"| [0-9]{3} [0-9]{4}|[0-9]{7})",
        before=_PHONE_BEFORE,
        after=_PHONE_AFTER,
        accept=_phone_of("CN"),
    ),
    Recognizer(
        "PHONE",
        r"\+[1-9](?:[ .()-]{0,2}[0-9]){6,14}",
        before=r"(?<![0-9+])",
        after=_PHONE_AFTER,
        accept=_phone_of(None),
    ),
    Recognizer(
        "PHONE",
        r"(?:\+?1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"
        r"(?: ?(?:x|ext\.?) ?[0-9]{1,5})?",
        before=_PHONE_BEFORE,
        after=_PHONE_AFTER,
        accept=_phone_of("US"),
    ),
    Recognizer(
        "PHONE",
        r"0[0-9]{2,4}[ -][0-9]{3,8}(?:[ -][0-9]{3,4})?",
        before=_PHONE_BEFORE,
        after=_PHONE_AFTER,
        accept=_phone_of("GB"),
    ),
    Recognizer(
        "PHONE",
        r"(?i:电话|手机|座机|传真|热线|联系方式|致电|拨打|telephone|tel|phone|fax|mobile|cell)"
        rf"{_NO}\.?{_IS}(?P<v>[0-9+(](?:[ ()-]{{0,2}}[0-9]){{6,14}})",
        before=r"(?<![A-Za-z])",
        after=_PHONE_AFTER,
        accept=valid(_said_phone),
    ),
    Recognizer(
        "BANK_CARD",
        r"[0-9]{12,19}|[0-9]{4}(?:[ -][0-9]{4}){2}(?:[ -][0-9]{1,4})?(?:[ -][0-9]{1,3})?"
        r"|3[47][0-9]{2}[ -][0-9]{6}[ -][0-9]{5}|[0-9]{6}[ -][0-9]{10,13}",
        before=r"(?<![0-9A-Za-z])(?<![0-9][.-])",
        after=r"(?![0-9A-Za-z])(?![.-][0-9])",
        accept=valid(_bank_card),
    ),
    Recognizer(
        "BANK_CARD",
        r"(?i:卡号|银行卡|信用卡|储蓄卡|借记卡|账号|账户|帐号|card)"
        rf"{_NO}{_IS}(?P<v>[0-9](?:[ -]?[0-9]){{11,18}})",
        after=r"(?![0-9A-Za-z])",
        accept=valid(_luhn),
    ),
    Recognizer(
        "EMAIL",
        r"[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}",
        before=r"(?<![A-Za-z0-9._%+-])",
        after=r"(?![A-Za-z0-9-])",
    ),
    Recognizer(
        "IP",
        r"(?P<c>(?i:ip)(?:地址| address)?[v4]{0,2}" + _IS + r")?"
        r"(?P<v>[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})",
        before=r"(?<![0-9.])(?<![vV])(?<!版本)(?<!version )",
        after=r"(?![0-9]|\.[0-9])",
        accept=_public_ip,
    ),
    Recognizer(
        "IP",
        r"[0-9A-Fa-f]{1,4}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}",
        before=r"(?<![0-9A-Za-z:.])",
        after=r"(?![0-9A-Za-z:])",
        accept=valid(_ipv6),
    ),
    Recognizer(
        "URL",
        r"https?://[0-9A-Za-z.:-]{3,80}/[!-~]{0,200}?(?:[?&;](?i:user_?(?:id|name)?|uid|openid|account"
        r"|mobile|phone|tel|email)=[!-%'-~]{1,100}|(?i:users?|u|people|profile|member)/[0-9A-Za-z_.-]{2,64})"
        r"[!-~]{0,200}",
        before=r"(?<![A-Za-z])",
        accept=lambda match: (
            match.start(),
            match.start() + len(match[0].rstrip(".,;:!?)]>\"'")),
        ),
    ),
    Recognizer(
        "PLATE",
        r"[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-HJ-NP-Z][ ·.-]?"
        r"(?:[DF][A-HJ-NP-Z0-9][0-9]{4}|[0-9]{5}[DF]|[A-HJ-NP-Z0-9]{4}[A-HJ-NP-Z0-9挂学警港澳])",
        after=r"(?![0-9A-Za-z])" + _UNITS,
        # GA 36-2018: at most two letters after the first, so that names of models are not meant.
        accept=valid(lambda value: len(digits(value)) >= 3),
    ),
    Recognizer(
        "PASSPORT",
        rf"(?i:护照|通行证|passport){_NO}\.?{_IS}(?P<v>[A-Za-z]{{0,2}}[0-9]{{7,9}})",
        after=r"(?![0-9A-Za-z])",
    ),
    Recognizer(
        "MRN",
        r"(?i:病历|病案|住院|门诊|就诊卡?|登记|病人id|患者id|影像|检查|mrn|medical record|"
        rf"patient id|chart|hospital){_NO}\.?{_IS}" + _IDENTIFIER,
        before=r"(?<![A-Za-z])",
        after=r"(?![0-9A-Za-z])" + _UNITS,
        accept=_named_number,
    ),
    Recognizer(
        "INSURANCE",
        r"(?i:医保卡?|医疗保险|社保卡?|社会保障|社会保险|参保|保单|保险单|insurance|policy"
        rf"|member id|medicare){_NO}\.?{_IS}" + _IDENTIFIER,
        before=r"(?<![A-Za-z])",
        after=r"(?![0-9A-Za-z])" + _UNITS,
        accept=_named_number,
    ),
    Recognizer(
        "SSN",
        rf"(?i:ssn|social security){_NO}\.?{_IS}(?P<v>[0-9]{{3}}[ -]?[0-9]{{2}}[ -]?[0-9]{{4}})",
        before=r"(?<![A-Za-z])",
        after=r"(?![0-9A-Za-z])",
        accept=valid(_us_ssn),
    ),
    Recognizer(
        "ACCOUNT",
        rf"(?i:qq){_NO}(?:群号?)?{_IS}(?P<v>[1-9][0-9]{{4,10}})",
        before=r"(?<![A-Za-z])",
        after=r"(?![0-9])" + _UNITS,
    ),
    Recognizer(
        "ACCOUNT",
        r"(?i:微信|薇信|wechat|weixin|vx)(?P<s>(?:号码|号| ?id)? {0,2}[:=]?(?:是|为)?) {0,2}"
        r"(?P<v>[A-Za-z][0-9A-Za-z_-]{5,19})",
        before=r"(?<![A-Za-z])",
        after=r"(?![0-9A-Za-z_-])",
        accept=_wechat,
    ),
    Recognizer(
        "BIRTH_DATE",
        r"(?i:出生(?:日期|年月日?|时间)?(?:于|在)?|生日|生于|dob|date of birth|birth ?date|birthday"
        rf"|born(?: on)?){_IS}(?P<v>{_DATE})",
        before=r"(?<![A-Za-z])",
        after=r"(?![0-9])",
        accept=valid(_real_date),
    ),
    Recognizer(
        "BIRTH_DATE",
        rf"(?P<v>{_DATE})(?:出生|生)",
        before=r"(?<![0-9])",
        after=r"(?![产日活效意长成理命物])",
        accept=valid(_real_date),
    ),
)
