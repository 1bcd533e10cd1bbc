"""Scripts tell languages apart; what they can't tell passes."""

import pyarrow as pa
import pytest

from vertical_assets.corpus.validity.language import foreign, scripts
from vertical_assets_tests.conftest import reviews

GERMAN = "der Patient wurde mit Fieber in die Klinik gebracht und dort von Ärzten behandelt " * 5
ENGLISH = "the patient was brought to a clinic with fever and treated there by the doctors " * 5


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("质量很好，物流很快", "Han"),
        ("华为MateBook很轻，WIFI有点慢", "Han"),
        ("この本はとても良い", "Japanese"),
        ("日の出印的酱油很好吃推荐", "Han"),
        ("아주 좋은 책입니다", "Hangul"),
        ("Очень хорошая книга", "Cyrillic"),
        ("كتاب جيد جدا", "Arabic"),
        ("πολύ καλό βιβλίο", "Greek"),
        ("Cholera due to Vibrio cholerae 01", "Latin"),
        ("β-Thalassaemia with HbS", "Latin"),
        ("120/80 ×2 [3]", "none"),
        ("", "none"),
    ],
)
def test_a_text_is_written_in_the_script_of_most_of_it(text: str, script: str) -> None:
    assert scripts(pa.array([text])).to_pylist() == [script]


def test_languages_are_wanted_by_their_codes() -> None:
    texts = pa.array(["很好", "good", "хорошо", "2024"])
    assert foreign(texts, ["zh-CN", "en"]).to_pylist() == [False, False, True, False]
    assert foreign(texts, ["ru"]).to_pylist() == [True, True, False, False]


def test_of_latin_texts_only_long_ones_without_english_words_are_not_english() -> None:
    texts = pa.array([ENGLISH, GERMAN, GERMAN[:60]])
    assert foreign(texts, ["en"]).to_pylist() == [False, True, False]
    assert foreign(texts, ["en", "de"]).to_pylist() == [False, False, False]


def test_real_reviews_are_chinese() -> None:
    texts = pa.array([row["text"] for row in reviews(20_000)])
    assert sum(foreign(texts, ["zh"]).to_pylist()) < 0.002 * len(texts)
