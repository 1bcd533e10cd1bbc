"""TF-IDF over the domain segmentation, stop words left out (SPEC D14)."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from vertical_assets.corpus.reading.files import SourceError
from vertical_assets.features.stop_words import stop_words
from vertical_assets.features.tfidf import GroupMeans, Tfidf
from vertical_assets.features.words import Cutter, content_words
from vertical_assets.spec.features import TermWeights
from vertical_assets_tests.conftest import reviews

STOP = stop_words(("zh", "en"))
CUTTER = Cutter(frozenset({"触摸板", "人工智能"}))
SETTINGS = TermWeights()


def fitted(texts: list[str], settings: TermWeights = SETTINGS) -> Tfidf:
    return Tfidf.fit((content_words(words, STOP) for words in CUTTER.cut(texts)), settings, CUTTER)


@pytest.mark.parametrize("sublinear", [False, True])
def test_weights_are_scikit_learns(sublinear: bool) -> None:
    texts = [row["text"] for row in reviews(200)]
    ours = fitted(texts, TermWeights(sublinear=sublinear))
    new = ["这本书的内容很好，印刷也很清楚", "", "zzz"]
    words = dict(zip([*texts, *new], CUTTER.cut([*texts, *new]), strict=True))
    theirs = TfidfVectorizer(
        analyzer=lambda text: content_words(words[text], STOP),
        min_df=2,
        sublinear_tf=sublinear,
    )
    expected = theirs.fit_transform(texts)
    assert ours.terms == tuple(theirs.get_feature_names_out())
    assert ours.transform(texts).dtype == np.float32
    assert np.abs(ours.transform(texts) - expected).max() < 1e-6
    assert np.abs(ours.transform(new) - theirs.transform(new)).max() < 1e-6


def test_stop_words_and_signs_are_no_terms_and_domain_terms_are_whole() -> None:
    texts = ["这个触摸板是好的，触摸板。", "人工智能的触摸板 is the BEST", "人工智能 best"]
    found = fitted(texts)
    assert {"触摸板", "人工智能"} <= set(found.terms)
    assert not {"的", "是", "the", "，", " "} & set(found.terms)
    assert content_words(["BEST", " ", "，", "the", "B超"], STOP) == ["b超"]  # `best` is one too


def test_a_saved_one_is_the_same_and_holds_no_pickle(tmp_path: Path) -> None:
    texts = [row["text"] for row in reviews(60)]
    found = fitted(texts)
    for name in "ab":
        found.save(tmp_path / name)
    assert {file.name for file in (tmp_path / "a").iterdir()} == {"tfidf.json", "idf.safetensors"}
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    loaded = Tfidf.load(tmp_path / "a")
    assert loaded.cutter == CUTTER
    assert (loaded.transform(texts) != found.transform(texts)).nnz == 0


def test_the_most_frequent_terms_are_kept() -> None:
    texts = ["apple pear", "apple pear plum", "apple plum fig"]
    settings = TermWeights(max_terms=2, min_documents=1)
    assert fitted(texts, settings).terms == ("apple", "pear")
    with pytest.raises(ValueError, match=r"lower features\.tfidf.min_documents"):
        fitted(texts, TermWeights(min_documents=9))


def test_what_each_group_of_texts_is_about() -> None:
    texts = ["apple pear", "apple apple", "lion dog", "dog dog apple"]
    found = fitted(texts, TermWeights(min_documents=1))
    means = GroupMeans(found.terms)
    weights = found.transform(texts)
    means.add(weights[:3], ["fruit", "fruit", "animal"])
    means.add(weights[3:], ["animal"])
    assert means.top(2) == {"animal": ["dog", "lion"], "fruit": ["apple", "pear"]}


def test_an_unknown_language_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SourceError, match=r"no stop words for 'xx'.*en.*zh"):
        stop_words(["xx"])
