"""The baseline of question answering: the phrase that is most like the question (SPEC E4).

A text's phrases are what stands between punctuation marks. The phrase with the greatest cosine of
TF-IDF vectors to the question is the answer. If it has nothing in common with any phrase, and
training knows questions without an answer, the text has none.
"""

import re

import numpy as np

from vertical_assets.labels.splits import Items
from vertical_assets.labels.targets import Span
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.labels import ANSWER

# A mark inside a number (1,000; 3.5) or a word parts nothing.
_PHRASE = re.compile(r"(?:[^.,;:!?。，；：！？、\n]|(?<=\w)[.,:](?=\w))+")


def phrases(text: str) -> list[tuple[int, int]]:
    """Start and end of every phrase, without the spaces around it; the text if it has none."""
    found = []
    for match in _PHRASE.finditer(text):
        words = match[0]
        start = match.start() + len(words) - len(words.lstrip())
        end = match.end() - len(words) + len(words.rstrip())
        if start < end:
            found.append((start, end))
    return found or [(0, len(text))]


def most_similar_phrases(
    train_set: Items, texts: list[str], questions: list[str], spec: VerticalSpec
) -> list[tuple[tuple[Span, ...], float]]:
    """(answer, cosine) for each text and its question.

    Args:
        train_set: its texts and questions tell how rare words are.
        texts: to be searched.
        questions: of each text.
        spec: section `language`.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    by_character = not spec.spaced
    vectorizer = TfidfVectorizer(
        analyzer="char" if by_character else "word",
        ngram_range=(1, 2) if by_character else (1, 1),
        sublinear_tf=True,
    )
    vectorizer.fit([*train_set.texts, *(train_set.questions or [])])
    asked = vectorizer.transform(questions)
    some_unanswered = any(not spans for spans in train_set.labels)
    found: list[tuple[tuple[Span, ...], float]] = []
    for row, text in enumerate(texts):
        places = phrases(text)
        vectors = vectorizer.transform([text[start:end] for start, end in places])
        cosines = np.asarray((vectors @ asked[row].T).todense()).ravel()
        best = int(cosines.argmax())
        unanswered = some_unanswered and cosines[best] <= 0
        spans = () if unanswered else (Span(*places[best], ANSWER),)
        found.append((spans, min(1.0, float(cosines[best]))))
    return found
