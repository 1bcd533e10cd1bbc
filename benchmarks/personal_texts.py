"""Labelled texts with made-up personal data: templates filled with valid and invalid values.

Valid numbers are made from the rules of those who issue them, not from the recognisers; what only
looks like personal data (numbers with a wrong checksum, orders, amounts, versions, ISBN) carries no
label. A tenth of the names stands without any context: no pattern can know them.
"""

import random
import re
from dataclasses import dataclass

SURNAMES = (
    "王李张刘陈杨赵吴徐孙朱胡郭林罗梁宋郑韩唐冯董袁邓沈彭吕苏卢蒋蔡丁"
    "魏薛潘杜戴姜姚谭黄周高马何曾任方金石康江史段钱武"
)
GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛超秀霞刚桂英建国志玉兰海燕红梅晓雅婷浩宇思雨欣怡梓涵俊辉佳琪子轩"
)
FIRST = [
    "James",
    "Mary",
    "Robert",
    "Patricia",
    "John",
    "Jennifer",
    "Michael",
    "Linda",
    "David",
    "Susan",
    "Thomas",
    "Karen",
    "Daniel",
]
LAST = [
    "Smith",
    "Johnson",
    "Williams",
    "Brown",
    "Jones",
    "Garcia",
    "Miller",
    "Davis",
    "Wilson",
    "Anderson",
    "O'Brien",
    "Lee",
]
REGIONS = (
    ("110105", "北京市朝阳区"),
    ("310104", "上海市徐汇区"),
    ("440305", "广东省深圳市南山区"),
    ("330106", "浙江省杭州市西湖区"),
    ("510104", "四川省成都市锦江区"),
    ("430104", "湖南省长沙市岳麓区"),
    ("610113", "陕西省西安市雁塔区"),
)
ROADS = [
    "建国路",
    "人民路",
    "中山北路",
    "解放大道",
    "学院路",
    "长安街",
    "文三路",
    "麓山南路",
    "和平路",
    "新华街",
]
STREETS = ["Main", "Oak", "Maple", "Park", "Washington", "Lake", "Hill", "Cedar"]
FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")
SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class LabelledText:
    """A text and its personal data: (type, start, end) in characters."""

    text: str
    language: str
    spans: tuple[tuple[str, int, int], ...]


CHINESE = (
    "患者{NAME}，男，45岁，因反复胸痛3天入院。",
    "姓名：{NAME}，身份证号：{ID_CARD}，联系电话：{PHONE}。",
    "联系人：{NAME}，地址：{ADDRESS}",
    "{NAME}医生建议复查血常规，如有疑问请拨打{PHONE}。",
    "{NAME}女士您好，您尾号的银行卡{BANK_CARD}已扣款58.5元。",
    "我的手机号是{PHONE}，微信号：{WECHAT}，有事联系。",
    "加QQ{QQ}领取资料，或发邮件到{EMAIL}。",
    "住院号：{MRN}，出生日期：{BIRTH_DATE}，家住{ADDRESS}。",
    "病历号{MRN}的{NAME}先生已出院。",
    "医保卡号：{INSURANCE}，参保人{ID_CARD}。",
    "保单号{INSURANCE}，被保险人：{NAME}。",
    "车主驾驶{PLATE}在{ADDRESS}附近被拍。",
    "服务器{IP}于凌晨登录失败三次。",
    "护照号码：{PASSPORT}，出生于{BIRTH_DATE}。",
    "收货人：{NAME} 电话{PHONE} 地址：{ADDRESS}",
    "请将款项汇至卡号{BANK_CARD}，户主：{NAME}。",
    "客服热线{LANDLINE}，传真：{LANDLINE}。",
    "我叫{NAME}，住在{ADDRESS}，邮箱是{EMAIL}。",
    "昨天{BARE_NAME}把书还了。",
    "访问记录 {IPV6} 已保存。",
)
CHINESE_DECOYS = (
    "订单号{NOT_CARD}已发货，运费12.5元。",
    "编号{NOT_ID}无效，请重新输入。",
    "流水号2023{LONG}已生成。",
    "版本1.2.3.4修复了若干问题，详见第2.3.1节。",
    "该公司市值138亿元，员工12000人。",
    "高中老师都说这本书不错，历史老师也推荐。",
    "患者高血压病史十年，黄疸三天，白细胞升高。",
    "血压120/80mmHg，心率75次/分，体温36.5℃。",
    "本书ISBN 9787302{SIX}，定价49.80元。",
    "地铁5号线通往人民路，3号口出。",
    "2023年5月12日，第135001380001号公告发布。",
    "型号A1234B，尺寸1380x800x1380毫米。",
)
ENGLISH = (
    "Patient: {NAME_EN}, DOB: {BIRTH_EN}, MRN: {MRN}.",
    "Please call {PHONE_EN} or write to {EMAIL}.",
    "Dr. {NAME_EN} reviewed the chart and agreed.",
    "Mrs. {NAME_EN} lives at {ADDRESS_EN}.",
    "SSN: {SSN}, card number {BANK_CARD}.",
    "Login from {IP} failed twice.",
    "Policy number: {INSURANCE}, insured: {NAME_EN}.",
    "Passport no. {PASSPORT}, born on {BIRTH_EN}.",
    "My name is {NAME_EN} and my fax is {PHONE_EN}.",
    "Discharge summary signed by: {NAME_EN}.",
    "See https://example.com/users/{USER} for details.",
    "Yesterday {BARE_NAME_EN} returned the book.",
)
ENGLISH_DECOYS = (
    "Order {NOT_CARD} was shipped on 2023-05-12.",
    "Type 2 diabetes mellitus with diabetic nephropathy.",
    "Version 10.2.1 fixes section 1.2.3.4 of the guide.",
    "Blood pressure 120/80 mmHg, 75 beats per minute.",
    "The company earned 1,380,000,000 dollars in 2022.",
    "Invoice 2023-0042 lists 12 items of class 3.",
)


class _Maker:
    """Makes values of every slot from one random number generator."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def digits(self, count: int, first: str = "0123456789") -> str:
        return self.rng.choice(first) + "".join(self.rng.choices("0123456789", k=count - 1))

    def make(self, slot: str) -> str:
        return getattr(self, f"_{slot.lower()}")()

    def _name(self) -> str:
        return self.rng.choice(SURNAMES) + "".join(
            self.rng.sample(GIVEN, self.rng.choice((1, 2, 2)))
        )

    _bare_name = _name

    def _name_en(self) -> str:
        return f"{self.rng.choice(FIRST)} {self.rng.choice(LAST)}"

    _bare_name_en = _name_en

    def _phone(self) -> str:
        number = f"1{self.rng.choice('3456789')}{self.digits(8)}{self.rng.choice('123456789')}"
        a, b, c = number[:3], number[3:7], number[7:]
        return self.rng.choice(
            (
                number,
                number.translate(FULL_WIDTH),
                f"{a} {b} {c}",
                f"{a}-{b}-{c}",
                f"+86 {a} {b} {c}",
                f"+86{number}",
            )
        )

    def _landline(self) -> str:
        local = self.digits(7, "68")
        return self.rng.choice(
            (f"010-6{local}", f"0571-8{local}", f"(021) 5{local}", f"400-8{local[:2]}-{local[3:]}")
        )

    def _phone_en(self) -> str:
        area = self.rng.choice(("212", "310", "415", "617", "312"))
        exchange, line = self.digits(3, "23456789"), self.digits(4)
        if exchange[1:] == "11":
            exchange = exchange[0] + "23"
        return self.rng.choice(
            (
                f"({area}) {exchange}-{line}",
                f"{area}-{exchange}-{line}",
                f"+1 {area} {exchange} {line}",
            )
        )

    def _ymd(self) -> tuple[int, int, int]:
        return self.rng.randint(1935, 2015), self.rng.randint(1, 12), self.rng.randint(1, 28)

    def _birth_date(self) -> str:
        y, m, d = self._ymd()
        return self.rng.choice((f"{y}年{m}月{d}日", f"{y}-{m:02}-{d:02}", f"{y}.{m}.{d}"))

    def _birth_en(self) -> str:
        y, m, d = self._ymd()
        return self.rng.choice((f"{m:02}/{d:02}/{y}", f"March {d}, {y}", f"{d} Oct {y}"))

    def _id_card(self) -> str:
        y, m, d = self._ymd()
        body = f"{self.rng.choice(REGIONS)[0]}{y}{m:02}{d:02}{self.digits(3)}"
        weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999
        total = sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True))
        return body + "10X98765432"[total % 11]

    def _not_id(self) -> str:
        good = self._id_card()
        return good[:-1] + self.rng.choice([c for c in "123456789" if c != good[-1]])

    @staticmethod
    def _luhn(body: str) -> str:
        doubled = (int(c) * (2 - i % 2) for i, c in enumerate(reversed(body)))
        return str(-sum(value // 10 + value % 10 for value in doubled) % 10)

    def _card_body(self) -> str:
        prefix, length = self.rng.choice((("622202", 19), ("621700", 19), ("4", 16), ("52", 16)))
        return prefix + self.digits(length - len(prefix) - 1)

    def _bank_card(self) -> str:
        body = self._card_body()
        number = body + self._luhn(body)
        grouped = " ".join(number[i : i + 4] for i in range(0, len(number), 4))
        return self.rng.choice((number, grouped))

    def _not_card(self) -> str:
        body = self._card_body()
        return body + str((int(self._luhn(body)) + self.rng.randint(1, 9)) % 10)

    def _email(self) -> str:
        user = self.rng.choice(FIRST).lower() + self.rng.choice((".", "_", "")) + self.digits(3)
        return f"{user}@{self.rng.choice(('qq.com', '163.com', 'gmail.com', 'mail.example.org'))}"

    def _wechat(self) -> str:
        return self.rng.choice(("wxid_", "hello", "Li-")) + self.digits(6)

    def _qq(self) -> str:
        return self.digits(self.rng.randint(6, 10), "123456789")

    def _mrn(self) -> str:
        return self.rng.choice(("", "ZY", "A")) + self.digits(self.rng.randint(6, 10), "3456789")

    def _insurance(self) -> str:
        return self.rng.choice(("", "YB", "P")) + self.digits(self.rng.randint(9, 11), "345678")

    def _passport(self) -> str:
        return self.rng.choice("EG") + self.digits(8)

    def _plate(self) -> str:
        head = self.rng.choice("京沪粤苏浙川湘") + self.rng.choice("ABCDEFGH")
        return head + self.rng.choice(
            (self.digits(5), f"{self.rng.choice('JKLMN')}{self.digits(4)}", f"D{self.digits(5)}")
        )

    def _ip(self) -> str:
        first, second, third = (self.rng.randint(*r) for r in ((130, 220), (100, 255), (0, 255)))
        return f"{first}.{second}.{third}.7"

    def _ipv6(self) -> str:
        return f"2001:db8:{self.rng.getrandbits(16):x}::{self.rng.randint(1, 999)}"

    def _ssn(self) -> str:
        area, group = self.rng.randint(101, 599), self.rng.randint(10, 99)
        return f"{area}-{group}-{self.rng.randint(1000, 9999)}"

    def _address(self) -> str:
        tail = self.rng.choice(("", "3栋2单元501室", "5号楼1203室"))
        street = self.rng.choice(REGIONS)[1] + self.rng.choice(ROADS)
        return f"{street}{self.rng.randint(1, 999)}号{tail}"

    def _address_en(self) -> str:
        kind = self.rng.choice(("Street", "Avenue", "Road", "Lane"))
        tail = self.rng.choice(("", ", Springfield, IL 62704", ", Apt 4B"))
        return f"{self.rng.randint(1, 9999)} {self.rng.choice(STREETS)} {kind}{tail}"

    def _user(self) -> str:
        return self.rng.choice(FIRST).lower() + self.digits(3)

    def _long(self) -> str:
        return self.digits(16)

    def _six(self) -> str:
        return self.digits(6)


_TYPES = {
    "WECHAT": "ACCOUNT",
    "QQ": "ACCOUNT",
    "LANDLINE": "PHONE",
    "IPV6": "IP",
    "NAME_EN": "NAME",
    "PHONE_EN": "PHONE",
    "BIRTH_EN": "BIRTH_DATE",
    "ADDRESS_EN": "ADDRESS",
    "BARE_NAME_EN": "BARE_NAME",
}
_UNLABELLED = ("NOT_CARD", "NOT_ID", "LONG", "SIX")


def labelled_texts(count: int, seed: int = 0, share: float = 0.7) -> list[LabelledText]:
    """Texts of one to three sentences; a sentence carries personal data with the given share.

    Types are those of `TYPES`, and BARE_NAME for a name that nothing in the text gives away.
    """
    rng = random.Random(seed)
    maker, made = _Maker(rng), list[LabelledText]()
    for number in range(count):
        language = ("zh", "en")[number % 2]
        real, decoys = ((CHINESE, CHINESE_DECOYS), (ENGLISH, ENGLISH_DECOYS))[number % 2]
        text, spans = "", list[tuple[str, int, int]]()
        for _ in range(rng.randint(1, 3)):
            template = rng.choice(real if rng.random() < share else decoys)
            text += " " if text and language == "en" else "\n" if text else ""
            place = 0
            for slot in SLOT.finditer(template):
                text += template[place : slot.start()]
                place, name = slot.end(), slot[1]
                value, start = maker.make(name), len(text)
                text += value
                if name == "USER":  # the whole address is personal
                    start = text.rindex("https://")
                    spans.append(("URL", start, len(text)))
                elif name not in _UNLABELLED:
                    spans.append((_TYPES.get(name, name), start, len(text)))
            text += template[place:]
        made.append(LabelledText(text, language, tuple(spans)))
    return made
