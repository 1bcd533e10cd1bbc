"""De-identification: nothing personal is left, the same person stays the same, no secret leaks."""

import importlib.util
import stat
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.personal_texts import labelled_texts
from vertical_assets.corpus.personal.deidentify import deidentify_batch, find_again
from vertical_assets.corpus.personal.personal_data import PersonalData
from vertical_assets.corpus.personal.pseudonyms import Pseudonyms, secret_key
from vertical_assets.defs.medical.icd10 import inclusion_terms, titles
from vertical_assets_tests.conftest import ROOT
from vertical_assets_tests.corpus.personal.test_personal_data import assembled

DATA = PersonalData(names=["白雪"])
KEYED = Pseudonyms(b"sixteen bytes or more")


def deidentified(text: str, pseudonyms: Pseudonyms = KEYED) -> str:
    return deidentify_batch(pa.array([text]), DATA, pseudonyms).texts[0].as_py()


def test_only_what_is_personal_is_replaced() -> None:
    texts = pa.array(["患者张三，男，电话138 0013 8000。", "无事", None])
    result = deidentify_batch(texts, DATA, Pseudonyms(None))
    assert result.texts.to_pylist() == ["患者[NAME]，男，电话[PHONE]。", "无事", None]
    assert result.changes.to_pylist() == [
        [
            {"type": "NAME", "start": 2, "end": 4, "pseudonym": "[NAME]"},
            {"type": "PHONE", "start": 9, "end": 22, "pseudonym": "[PHONE]"},
        ],
        [],
        [],
    ]
    assert result.counts == {"NAME": 1, "PHONE": 1}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("手机138 0013 8000", "手机+86-13800138000"),
        ("手机１３８００１３８０００", "手机一三八零零一三八零零零"),
        ("电话010-62751234", "电话+86 10 6275 1234"),
        ("卡号6222 0212 3456 7890 128", "卡号6222021234567890128"),
        ("号码11010519491231002x", "号码11010519491231002X"),
        ("邮箱Zhang@QQ.com", "邮箱zhang@qq.com"),
        ("張醫生", "张醫生"),
        ("京A·12345", "京A12345"),
    ],
)
def test_ways_of_writing_one_value_share_a_pseudonym(one: str, other: str) -> None:
    first, second = (
        deidentify_batch(pa.array([text]), DATA, KEYED).changes[0].as_py() for text in (one, other)
    )
    assert [c["pseudonym"] for c in first] == [c["pseudonym"] for c in second] != []


def test_pseudonyms_differ_by_value_type_and_secret() -> None:
    others = Pseudonyms(b"another secret, as long")
    names = {
        KEYED.of("PHONE", "13800138000"),
        KEYED.of("PHONE", "13800138001"),
        KEYED.of("MRN", "13800138000"),
        others.of("PHONE", "13800138000"),
    }
    assert len(names) == 4
    # printf 'PHONE\0+8613800138000' | openssl dgst -sha256 -hmac 'sixteen bytes or more'
    letters = "jrbkjltclq"
    assert KEYED.of("PHONE", "13800138000") == f"[PHONE{letters}]"
    assert "secret" not in repr(others)


@settings(max_examples=12)
@given(texts=st.lists(assembled(), min_size=1, max_size=20), keyed=st.booleans())
def test_a_second_pass_finds_nothing(texts: list[str], keyed: bool) -> None:
    once = deidentify_batch(pa.array(texts), DATA, KEYED if keyed else Pseudonyms(None))
    assert find_again(once.texts, DATA) == {}
    results = zip(once.changes.to_pylist(), once.texts.to_pylist(), strict=True)
    for text, (changes, written) in zip(texts, results, strict=True):
        # Offsets are the original's: the text between the changes is untouched.
        parts, place = [], 0
        for change in changes:
            parts += [text[place : change["start"]], change["pseudonym"]]
            place = change["end"]
        assert "".join([*parts, text[place:]]) == written


def test_pseudonyms_survive_normalisation_and_segmentation() -> None:
    import unicodedata

    import rjieba

    inner = KEYED.of("PHONE", "13800138000").strip("[]")
    text = unicodedata.normalize("NFKC", deidentified("联系电话13800138000转告"))
    assert inner in rjieba.cut(text)
    assert not any(character.isdigit() for character in inner)


def test_diagnosis_titles_stay_as_they_are() -> None:
    spec = importlib.util.find_spec("simple_icd_10_cm")
    if spec is None or spec.origin is None:
        pytest.skip("the package simple_icd_10_cm (extra 'demo') is not installed")
    file = next(Path(spec.origin).parent.rglob("*.xml"))
    texts = [row["text"] for read in (titles, inclusion_terms) for row in read(file)]
    assert len(texts) > 50_000
    assert find_again(pa.array(texts), DATA) == {}


def test_values_are_in_no_output() -> None:
    texts = labelled_texts(50, seed=8)
    result = deidentify_batch(pa.array([each.text for each in texts]), DATA, KEYED)
    for text, change in zip(texts, result.changes.to_pylist(), strict=True):
        for entity, start, end in text.spans:
            if entity != "BARE_NAME":
                assert text.text[start:end] not in str(change)


def test_the_secret_comes_from_the_environment_or_a_private_file(tmp_path: Path) -> None:
    environ = {"VERTICAL_KEYS": str(tmp_path / "keys")}
    made = secret_key(environ)
    file = tmp_path / "keys" / "pseudonym.key"
    assert len(made) == 32
    assert secret_key(environ) == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]

    assert secret_key({"VERTICAL_PSEUDONYM_KEY": "ab" * 16, **environ}) == b"\xab" * 16
    assert secret_key({"VERTICAL_PSEUDONYM_KEY": "any text of sixteen"}) == b"any text of sixteen"
    with pytest.raises(ValueError, match="VERTICAL_PSEUDONYM_KEY holds 5 characters"):
        secret_key({"VERTICAL_PSEUDONYM_KEY": "short"})
    file.write_text("")
    with pytest.raises(ValueError, match=r"pseudonym\.key holds 0 characters"):
        secret_key(environ)


def test_processes_that_race_for_the_secret_get_the_same(tmp_path: Path) -> None:
    asks = (
        "from vertical_assets.corpus.personal.pseudonyms import secret_key\n"
        f"print(secret_key({{'VERTICAL_KEYS': {str(tmp_path)!r}}}).hex())"
    )
    command, pipe = [sys.executable, "-c", asks], subprocess.PIPE
    racers = [subprocess.Popen(command, cwd=ROOT, stdout=pipe, text=True) for _ in range(6)]
    assert len({racer.communicate(timeout=120)[0] for racer in racers}) == 1
    assert {racer.returncode for racer in racers} == {0}
