"""Numbers in texts, by topic: what is written anew, under which policy, and what must stay.

All cases are our own, from the grammar of Chinese numerals. A text that stays is its own
expectation. Single numerals and their values are in `test_numerals`.
"""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.corpus.cleaning.numbers import Change, normalize_batch, normalize_numbers
from vertical_assets.corpus.cleaning.numerals import Policy
from vertical_assets_tests.conftest import reviews

POLICIES: tuple[Policy, ...] = ("digits", "grouped", "scientific")

# topic -> text -> (digits, grouped, scientific); one string where all three are the same
WRITTEN: dict[str, dict[str, str | tuple[str, str, str]]] = {
    "large numbers": {
        "用户100万": ("用户1000000", "用户1,000,000", "用户1e6"),
        "3.5亿": ("350000000", "350,000,000", "3.5e8"),
        "十二万三千": ("123000", "123,000", "123000"),
        "1,000.5万元": ("10005000元", "10,005,000元", "10005000元"),
        "1050万": ("10500000", "10,500,000", "1.05e7"),
        "1.5万亿美元": ("1500000000000美元", "1,500,000,000,000美元", "1.5e12美元"),
        "1亿2000万人": ("120000000人", "120,000,000人", "1.2e8人"),
        "3千5百元": ("3500元", "3,500元", "3500元"),
        "100 万": ("1000000", "1,000,000", "1e6"),
        "５００万": ("5000000", "5,000,000", "5e6"),
        "两万五": ("25000", "25,000", "25000"),
        "两万半": ("25000", "25,000", "25000"),
        "三百零五万册": ("3050000册", "3,050,000册", "3.05e6册"),
        "一千二百三十四万五千六百七十八": ("12345678", "12,345,678", "12345678"),
        "三萬元": ("30000元", "30,000元", "3e4元"),
        "三点五万": ("35000", "35,000", "35000"),
        "亏损-100万": ("亏损-1000000", "亏损-1,000,000", "亏损-1e6"),
        "3500万USD": ("35000000USD", "35,000,000USD", "3.5e7USD"),
        "5万多人": ("50000多人", "50,000多人", "5e4多人"),
        "三百万千瓦": ("3000000千瓦", "3,000,000千瓦", "3e6千瓦"),
        "一万五千米": ("15000米", "15,000米", "15000米"),
        "两千三百条": ("2300条", "2,300条", "2300条"),
        "壹仟贰佰叁拾元整": ("1230元整", "1,230元整", "1230元整"),
        "人民币肆万伍仟元": ("人民币45000元", "人民币45,000元", "人民币45000元"),
        "廿三个": "23个",
    },
    "digits before a unit or after a currency sign": {
        "1000000元": ("1000000元", "1,000,000元", "1e6元"),
        "￥12000": ("￥12000", "￥12,000", "￥12000"),
        "2999.00元": ("2999.00元", "2,999.00元", "2999.00元"),
        "1,234,567": ("1234567", "1,234,567", "1234567"),
        "$1,000,000": ("$1000000", "$1,000,000", "$1e6"),
        "共20000个": ("共20000个", "共20,000个", "共2e4个"),
        "5000mg": ("5000mg", "5,000mg", "5000mg"),
    },
    "counts": {
        "两个人": "2个人", "三岁的孩子": "3岁的孩子", "买了两本": "买了2本", "五公斤": "5公斤",
        "二十毫升": "20毫升", "三十mg": "30mg", "十二块钱": "12块钱", "八折": "8折",
        "二十两银子": "20两银子", "二两酒": "2两酒", "五千克": "5千克", "两千瓦": "2千瓦",
        "二十五千米": "25千米", "三十多岁": "30多岁", "二十余名": "20余名", "十来个": "10来个",
        "四十度": "40度", "三倍": "3倍", "一百零八将": "108将", "两次": "2次",
        "十分钟": "10分钟", "十二分钟": "12分钟", "九十分": "90分", "三颗星": "3颗星",
        "三毛钱": "3毛钱", "三个学生三张票": "3个学生3张票",
        "六百四十八级": "648级", "二十一世纪": "21世纪", "三楼": "3楼", "二年级": "2年级",
    },
    "decimals and halves": {
        "三点一四": "3.14", "零点五": "0.5", "三点五倍": "3.5倍", "一点二五米": "1.25米",
        "百米跑了九点八秒": "百米跑了9.8秒", "三个半小时": "3.5个小时", "一个半月": "1.5个月",
        "两年半": "2.5年", "4岁半": "4.5岁", "三斤半": "3.5斤", "住了一天半，": "住了1.5天，",
        "三块五": "3.5块", "身高一米八": "身高1.8米", "三块五毛": "3块5毛", "1米8": "1.8米",
        "三天半夜": "3天半夜", "第二天半夜": "第2天半夜", "两天半价": "2天半价",
    },
    "percent and fractions": {
        "百分之二十": "20%", "百分之三点五": "3.5%", "百分之百": "100%", "百分之一百": "100%",
        "百分之20": "20%", "百分之零点五": "0.5%", "百分之三到五": "3%到5%", "百分之一": "1%",
        "百分之二三十": "20%~30%", "百分之二十多": "20%多", "千分之三": "3‰", "三分之一": "1/3",
        "五分之四": "4/5", "十分之一": "1/10", "万分之五": "5/10000", "三百分之一": "1/300",
        "二又三分之一": "2又1/3", "四分之三左右": "3/4左右",
    },
    "ranges": {
        "三到五万": ("30000到50000", "30,000到50,000", "3e4到5e4"),
        "3~5万": ("30000~50000", "30,000~50,000", "3e4~5e4"),
        "3-5万元": ("30000-50000元", "30,000-50,000元", "3e4-5e4元"),
        "三至五百万": ("3000000至5000000", "3,000,000至5,000,000", "3e6至5e6"),
        "五到二十万": ("50000到200000", "50,000到200,000", "5e4到2e5"),
        "一百到三百万": ("1000000到3000000", "1,000,000到3,000,000", "1e6到3e6"),
        "三万到五万": ("30000到50000", "30,000到50,000", "3e4到5e4"),
        "两三百": "200~300", "三四十": "30~40",
        "两三千块": ("2000~3000块", "2,000~3,000块", "2000~3000块"),
        "三四百万": ("3000000~4000000", "3,000,000~4,000,000", "3e6~4e6"),
        "七八个": "7~8个", "十七八岁": "17~18岁", "二十五六岁": "25~26岁", "一二十个": "10~20个",
        "三五百人": "300~500人", "八九十斤": "80~90斤", "三至五个": "3至5个", "两到三年": "2到3年",
        "三十到五十": "30到50", "一到两个": "1到2个", "十到十五分钟": "10到15分钟",
    },
    "signs": {
        "负三十": "-30", "气温负五度": "气温-5度", "零下五度": "-5度", "零下5度": "-5度",
        "零下二十多度": "-20多度", "零下十℃": "-10℃", "负一百二十": "-120",
    },
    "dates": {
        "二〇二四年五月一日": "2024年5月1日", "一九九八年": "1998年", "二零零八年": "2008年",
        "九八年": "98年", "零八年": "08年", "二〇二四": "2024", "十二月三十一日": "12月31日",
        "一月一日": "1月1日", "2024年一月": "2024年1月", "五月": "5月", "十一月一日": "11月1日",
        "八零后": "80后", "五〇年代": "50年代", "九十年代": "90年代", "二十号": "20号",
        "一月份": "1月份", "公元二千年": "公元2000年",
    },
    "times": {
        "下午三点十五分": "下午3点15分", "三点半": "3点半", "一点半": "1点半", "八点二十": "8点20",
        "三点零五分": "3点05分", "十二点": "12点", "七点钟": "7点钟", "两点三刻": "2点3刻",
        "十一点": "11点", "晚上九点五十": "晚上9点50", "两点两人": "2点2人", "六点多": "6点多",
        "一小时二十分": "一小时20分", "三十秒": "30秒",
    },
    "read one by one": {
        "电话一三八零零一三八零零零": "电话13800138000", "一零一教室": "101教室",
        "三六零": "360", "房间八〇二": "房间802",
    },
    "ordinals": {
        "第三": "第3", "第二天": "第2天", "第三章": "第3章", "第一章": "第1章", "第一届": "第1届",
        "第一百二十三条": "第123条", "第二十一届": "第21届", "第十": "第10", "第三千": "第3000",
    },
    "English": {
        "1.5 million people": ("1500000 people", "1,500,000 people", "1.5e6 people"),
        "3 thousand": ("3000", "3,000", "3000"),
        "$2.5 billion": ("$2500000000", "$2,500,000,000", "$2.5e9"),
        "2 hundred thousand": ("200000", "200,000", "2e5"),
        "2-3 million": ("2000000-3000000", "2,000,000-3,000,000", "2e6-3e6"),
        "3 to 5 million": ("3000000 to 5000000", "3,000,000 to 5,000,000", "3e6 to 5e6"),
        "12,345 records": ("12345 records", "12,345 records", "12345 records"),
        "About 4 Trillion.": ("About 4000000000000.", "About 4,000,000,000,000.", "About 4e12."),
    },
}  # fmt: skip

# topic -> texts that no policy touches, separated by |
KEPT = {
    "idioms": "一心一意|千方百计|乱七八糟|三三两两|三天两头|四面八方|五颜六色|七上八下|十全十美"
    "|百发百中"
    "|千真万确|万无一失|九牛一毛|三番五次|成千上万|一清二楚|七嘴八舌|三长两短|一五一十|两全其美"
    "|三十而立",
    "words": "万一|千万别买|十分满意|万分感谢|百科|百货|万能|三国|五香|二手|两岸|统一|唯一|四肢"
    "|三角形"
    "|一些|一样|一下|一点|一直|一定|一起|半天|一半|二百五|三明治|四合院|五官|六神|八卦|九霄|百姓"
    "|千金"
    "|三八线|十字路口|三分热度|二次元|十一放假|百度|万科|三星手机|七匹狼|二十四史|三十六计"
    "|一千零一夜",
    "medicine": "三七|二甲双胍|十二指肠|二尖瓣|三叉神经|四环素|五官科|六味地黄丸|三尖瓣|百日咳"
    "|二氧化碳|半月板",
    "names and places": "四川|九寨沟|三亚|张三|李四光|三毛的书|八达岭|九江|三峡|五台山|万科"
    "|张三个子高|七里沟",
    "single one and single digits": "一个|一本书|一公斤|一月|第一|第一次|第一个|我有一天|两者"
    "|两国|三方|小三"
    "|老四|二、|富二代|零|一两个|两手",
    "weekdays and the moon's calendar": "星期一|周三|礼拜五|初三|正月十五|八月十五|腊月二十"
    "|每周三次",
    "vague": "几十|数百|几十万|数十万人|十几个|二十几岁|上千万|好几百|百万|千万|亿万|数以万计"
    "|七八年|一二十年代",
    "doubtful": "三、五百|2、3万|十、二十个|一、二十株|十一、二点|零下五到十度|负三到五"
    "|between 3 and 5 million|十四五规划|两千万能充电宝|八九十年代"
    "|1万20|三百百|一、产品|十二、产品",
    "codes": "E11.9|B12|COVID-19|H1N1|v1.2.3|IPv4|MP3|A4|p53|HbA1c 6.5%|ISO9001|iPhone6s"
    "|10.0.0.1|C3PO",
    "plain Arabic": "13800138000|010-12345678|2024年5月1日|2024-05-01|12:30|1/3|50%|5岁|1998|007"
    "|邮编100871"
    "|6.5|3:2|1-2个|100多",
    "addresses": "http://a.cn/100|https://x.org/?q=20万|a12@b34.cn|#12345",
    "English words": "twenty-five|one million|a thousand times|B 12|5 millionaires",
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("topic", WRITTEN)
def test_written(topic: str, policy: Policy) -> None:
    expected = {
        text: result if isinstance(result, str) else result[POLICIES.index(policy)]
        for text, result in WRITTEN[topic].items()
    }
    assert {text: normalize_numbers(text, policy)[0] for text in expected} == expected


@pytest.mark.parametrize("topic", KEPT)
def test_left_alone(topic: str) -> None:
    for text in KEPT[topic].split("|"):
        for policy in POLICIES:
            assert normalize_numbers(text, policy) == (text, [])


def test_the_table_is_large_enough() -> None:
    assert sum(map(len, WRITTEN.values())) >= 150
    assert sum(len(texts.split("|")) for texts in KEPT.values()) >= 150


def test_changes_tell_where_what_was() -> None:
    text = "一共三十人，花了两万元"
    written, changes = normalize_numbers(text, "grouped")
    assert written == "一共30人，花了20,000元"
    assert changes == [Change(2, 4, "三十", "30"), Change(8, 10, "两万", "20,000")]


def test_keep_touches_nothing() -> None:
    assert normalize_numbers("三十人", "keep") == ("三十人", [])
    texts = pa.array(["三十人", None])
    assert normalize_batch(texts, "keep") == (texts, [[], []])


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("三十六味丸", "服用三十六味丸"),
        ("一百单八将", "一百单八将"),
        ("5万单位青霉素", "5万单位青霉素"),
        ("三板", "新三板三十家"),
        ("二十碳五烯酸", "二十碳五烯酸20万"),
    ],
)
def test_protected_terms_are_never_broken(term: str, text: str) -> None:
    protected = frozenset({term})
    for policy in POLICIES:
        assert term in normalize_numbers(text, policy, protected)[0]


# Pieces of text that meet in all combinations.
PIECES = [
    "三十", "两", "一", "十", "百", "万", "亿", "零", "五六", "半", "个", "年", "月", "日", "点",
    "分", "分之",
    "百分之", "到", "、", "-", "~", "负", "零下", "第", "度", "元", "块", "千克", "100", "3.5",
    "1,000", "0",
    "2024", " ", "million", "A", "e", "几", "多", "十分", "万一", "统一", "星期", "，", "书",
    "壹仟", "１２", "。",
]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    text=st.lists(st.sampled_from(PIECES), max_size=9).map("".join),
    policy=st.sampled_from(POLICIES),
)
def test_laws(text: str, policy: Policy) -> None:
    written, changes = normalize_numbers(text, policy)
    again, _ = normalize_numbers(written, policy)
    assert again == written, "twice changes more"
    place, rebuilt = 0, ""
    for change in changes:  # what lies outside the changes is untouched and in order
        assert change.start >= place
        assert text[change.start : change.end] == change.original != change.written
        rebuilt += text[place : change.start] + change.written
        place = change.end
    assert rebuilt + text[place:] == written
    assert normalize_batch(pa.array([text, None]), policy)[0].to_pylist() == [written, None]


@pytest.mark.parametrize("policy", POLICIES)
def test_batches_of_real_reviews_are_the_single_texts(policy: Policy) -> None:
    texts = [row["text"] for row in reviews(600)]
    written, changes = normalize_batch(pa.array(texts), policy)
    assert [normalize_numbers(text, policy) for text in texts] == list(
        zip(written.to_pylist(), changes, strict=True)
    )
    assert 0.01 < sum(map(bool, changes)) / len(texts) < 0.3
    assert normalize_batch(written, policy)[0].equals(written)
