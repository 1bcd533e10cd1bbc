"""Recognisers: what counts as personal data, and what only looks like it."""

from typing import get_args

import opencc
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.personal_texts import labelled_texts
from vertical_assets.corpus.personal import personal_names
from vertical_assets.corpus.personal.deidentify import find_personal
from vertical_assets.corpus.personal.personal_data import TYPES, PersonalData
from vertical_assets.corpus.personal.personal_numbers import resident_identity
from vertical_assets.corpus.personal.recognizer import fold
from vertical_assets.spec.corpus import PersonalType

DATA = PersonalData()


def found(text: str, data: PersonalData = DATA) -> list[tuple[str, str]]:
    return [
        (each.entity, text[each.start : each.end])
        for each in find_personal(pa.array([text]), data).get(0, [])
    ]


@pytest.mark.parametrize(
    ("text", "entity", "value"),
    [
        ("身份证号11010519491231002X。", "ID_CARD", "11010519491231002X"),  # GB 11643's example
        ("身份证：110105491231002", "ID_CARD", "110105491231002"),
        ("手机138 0013 8000转告", "PHONE", "138 0013 8000"),
        ("电话１３８００１３８０００", "PHONE", "１３８００１３８０００"),
        ("打+86-138-0013-8000", "PHONE", "+86-138-0013-8000"),
        ("一三八零零一三八零零一", "PHONE", "一三八零零一三八零零一"),
        ("总机010-62751234转802", "PHONE", "010-62751234转802"),
        ("服务热线400-820-8820", "PHONE", "400-820-8820"),
        ("電話：62751234", "PHONE", "62751234"),
        ("call (212) 555-0123 now", "PHONE", "(212) 555-0123"),
        ("ring +44 20 7946 0123", "PHONE", "+44 20 7946 0123"),
        ("卡号6222 0212 3456 7890 128", "BANK_CARD", "6222 0212 3456 7890 128"),
        ("4111111111111111", "BANK_CARD", "4111111111111111"),
        ("邮箱zhang.san@qq.com，", "EMAIL", "zhang.san@qq.com"),
        ("来自202.108.22.5的", "IP", "202.108.22.5"),
        ("IP地址：1.2.3.4", "IP", "1.2.3.4"),
        ("at 2001:db8::1 now", "IP", "2001:db8::1"),
        ("见https://weibo.com/u/1234567890。", "URL", "https://weibo.com/u/1234567890"),
        ("车牌京A·12345", "PLATE", "京A·12345"),
        ("新能源车沪AD12345", "PLATE", "沪AD12345"),
        ("护照号E12345678", "PASSPORT", "E12345678"),
        ("住院号：ZY20230045", "MRN", "ZY20230045"),
        ("MRN: 00123456", "MRN", "00123456"),
        ("医保卡号A123456789", "INSURANCE", "A123456789"),
        ("SSN 123-45-6789", "SSN", "123-45-6789"),
        ("微信号：abc_xyz", "ACCOUNT", "abc_xyz"),
        ("加QQ：4008208820", "ACCOUNT", "4008208820"),
        ("出生日期：1985年3月12日", "BIRTH_DATE", "1985年3月12日"),
        ("DOB: 03/12/1985", "BIRTH_DATE", "03/12/1985"),
        ("在北京市海淀区中关村大街27号见", "ADDRESS", "北京市海淀区中关村大街27号"),
        ("家住阳光小区3栋2单元501室", "ADDRESS", "阳光小区3栋2单元501室"),
        (
            "at 123 Main Street, Springfield, IL 62704.",
            "ADDRESS",
            "123 Main Street, Springfield, IL 62704",
        ),
        ("患者张三，男，45岁", "NAME", "张三"),
        ("患者高明，男，45岁", "NAME", "高明"),
        ("请張醫生看", "NAME", "張"),
        ("感谢欧阳娜娜老师", "NAME", "欧阳娜娜"),
        ("林语堂先生", "NAME", "林语堂"),
        ("石副经理说", "NAME", "石"),
        ("姓名：李四 性别：男", "NAME", "李四"),
        ("我叫黄小明。", "NAME", "黄小明"),
        ("Patient: John O'Brien, male", "NAME", "John O'Brien"),
        ("Dr. Smith agreed", "NAME", "Smith"),
    ],
)
def test_found(text: str, entity: str, value: str) -> None:
    assert found(text) == [(entity, value)]


@pytest.mark.parametrize(
    "text",
    [
        "编号110105194912310021",  # wrong check character
        "编号990105194912310029",  # no such province
        "订单SF13800138000已发",
        "流水号2013800138000123",
        "市值13800000000元，净利138亿",
        "订单6222021234567890129",  # fails Luhn
        "版本1.2.3.4，127.0.0.1",
        "12:30:45，std::vector a::b",
        "https://example.com/news/2023.html",
        "新A股上市",
        "统一社会信用代码91110108551385082Q",
        "1985年3月生产",
        "出生率下降，生日快乐",
        "这条路3号开通，地铁5号线",
        "高中老师、历史老师、班主任老师，谢谢医生，项目经理，前厅部经理，司机师傅",
        "患者高血压，患者黄疸，患者于三天前",
        "患者李某，患者王某某",
        "Type 2 diabetes mellitus without complications",
        "高明昨天来了，白雪皑皑",
    ],
)
def test_not_found(text: str) -> None:
    assert found(text) == []


def test_listed_names_are_found_wherever_they_stand() -> None:
    data = PersonalData(names=["Ada Lovelace", "白雪", "張偉", " "])
    text = "白雪和张伟读Ada Lovelace，Canada Lovelaces"
    assert [value for _, value in found(text, data)] == ["白雪", "张伟", "Ada Lovelace"]


def test_a_listed_name_is_found_though_a_longer_one_begins_there() -> None:
    data = PersonalData(names=["Wang", "Wang Li"])
    assert [v for _, v in found("I met Wang Lin and Wang Li", data)] == ["Wang", "Wang Li"]


def test_listed_names_in_other_letter_case() -> None:
    """A single word may be a word of the language too."""
    data = PersonalData(names=["John Smith", "May"])
    text = "JOHN SMITH, john smith and MAY may come in May"
    assert [v for _, v in found(text, data)] == ["JOHN SMITH", "john smith", "MAY", "May"]


@pytest.mark.parametrize("text", ["电话——13812345678", "手机—13812345678", "电话-13812345678"])
def test_a_dash_may_stand_between_label_and_number(text: str) -> None:
    assert [value for _, value in found(text)] == ["13812345678"]


def test_the_yaml_section_knows_every_type() -> None:
    assert list(get_args(PersonalType)) == list(TYPES)


def test_only_the_wanted_types() -> None:
    text = "张医生的电话13800138000，zhang@qq.com"
    assert [e for e, _ in found(text, PersonalData(entities=["EMAIL"]))] == ["EMAIL"]
    with pytest.raises(ValueError, match="FAX unknown; known are ID_CARD"):
        PersonalData(entities=["FAX"])
    with pytest.raises(ValueError, match="one character"):
        PersonalData(names=["张"])


@given(st.integers(0, 10**17 - 1), st.sampled_from("0123456789X"))
def test_one_check_character_in_eleven_is_right(number: int, check: str) -> None:
    body = f"11010519{number % 100:02}0101{number % 1000:03}"
    accepted = [c for c in "0123456789X" if resident_identity(body + c)]
    assert len(accepted) == 1
    assert resident_identity(body + check) == (check in accepted)


@given(st.text(max_size=60) | st.text("零一二三四五六七八九１２３45张張\u200b①", max_size=40))
def test_folding_keeps_offsets_and_is_idempotent(text: str) -> None:
    once = fold(pa.array(["前", text, None, "一二三四"]))
    assert [len(each) for each in once.to_pylist()] == [1, len(text), 0, 4]
    assert fold(once).equals(once)


def test_folding_reads_slices_and_does_not_join_texts() -> None:
    column = pa.array(["x", "一二三四", "五六七八", "一二三四五六七", None])
    assert fold(column.slice(1, 3)).to_pylist() == ["一二三四", "五六七八", "1234567"]
    assert fold(column.slice(0, 0)).to_pylist() == []


def test_surnames_are_simplified_and_distinct() -> None:
    surnames = personal_names._SURNAME + personal_names._WORDLIKE
    assert opencc.OpenCC("t2s").convert(surnames) == surnames
    assert len(set(surnames)) == len(surnames)


FRAGMENTS = [each.text for each in labelled_texts(120, seed=3)]


@st.composite
def assembled(draw: st.DrawFn) -> str:
    """Pieces of labelled texts, cut anywhere and glued, with random text between."""
    pieces = []
    for _ in range(draw(st.integers(1, 4))):
        text = draw(st.sampled_from(FRAGMENTS))
        start = draw(st.integers(0, len(text)))
        pieces += [text[start : draw(st.integers(start, len(text)))], draw(st.text(max_size=5))]
    return "".join(pieces)


@settings(max_examples=12)
@given(st.lists(assembled(), min_size=1, max_size=20))
def test_the_prefilter_lets_nothing_through(texts: list[str]) -> None:
    folded = fold(pa.array(texts))
    candidates = DATA.candidates(folded)
    for row, text in enumerate(folded.to_pylist()):
        assert DATA.find(text, candidates.get(row, [])) == DATA.find(text)


def test_labelled_texts_are_found_exactly() -> None:
    texts = labelled_texts(600, seed=1)
    results = find_personal(pa.array([each.text for each in texts]), DATA)
    missed = wrong = 0
    for row, text in enumerate(texts):
        gold = {span for span in text.spans if span[0] != "BARE_NAME"}
        exact = {(each.entity, each.start, each.end) for each in results.get(row, [])}
        missed, wrong = missed + len(gold - exact), wrong + len(exact - gold)
        assert {entity for entity, *_ in gold} <= set(TYPES)
    assert missed + wrong <= 3
