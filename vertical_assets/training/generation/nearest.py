"""The baseline of generation: the answer of the training prompt that is most alike (SPEC E4)."""

from vertical_assets.labels.generation.pairs import Pairs
from vertical_assets.spec import VerticalSpec


def nearest_answers(train_set: Pairs, prompts: list[str], spec: VerticalSpec) -> list[str]:
    """For each prompt the answer of the nearest training prompt, by the cosine of TF-IDF
    (characters 1-3 where words have no spaces, else words 1-2); the first of equally near ones.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    by_character = not spec.spaced
    vectorizer = TfidfVectorizer(
        analyzer="char" if by_character else "word",
        ngram_range=(1, 3) if by_character else (1, 2),
        sublinear_tf=True,
    )
    known = vectorizer.fit_transform(train_set.prompts)
    asked = vectorizer.transform(prompts)
    answers: list[str] = []
    for start in range(0, len(prompts), 1000):  # so many rows of similarities at once
        nearest = (asked[start : start + 1000] @ known.T).toarray().argmax(axis=1)
        answers += [train_set.answers[number] for number in nearest]
    return answers
