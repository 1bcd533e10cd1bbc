"""Spec of what sits on the encoder: modules, their fusion and the cascade (SPEC M5-M10)."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from vertical_assets.spec.section import Fraction, Positive, Strict

ENTRY_POINTS = "vertical_assets.modules"  # the group under which distributions register types

_Dropout = Annotated[
    float, Field(ge=0.0, lt=1.0, description="Of what enters the module; BERT's own 0.1.")
]
_POOLING = "The first token's state, or the mean of all tokens'."


class ModuleError(ValueError):
    """A module's type or options don't fit; the message names field and remedy."""


class SequenceOptions(Strict):
    """One vector of a text, from its tokens' states."""

    type: Literal["sequence"] = "sequence"
    pooling: Literal["first", "mean"] = Field(default="first", description=_POOLING)
    dropout: _Dropout = 0.1


class RegressionOptions(Strict):
    """One vector of a text, for a number."""

    type: Literal["regression"] = "regression"
    pooling: Literal["first", "mean"] = Field(default="mean", description=_POOLING)
    dropout: _Dropout = 0.1


class BiLstmOptions(Strict):
    """A bidirectional LSTM over the tokens' states (SPEC M6)."""

    type: Literal["bilstm"] = "bilstm"
    hidden: Positive = Field(default=128, description="Width of each direction.")
    dropout: _Dropout = 0.1


class TokensOptions(Strict):
    """A tag for every token, each on its own."""

    type: Literal["tokens"] = "tokens"
    dropout: _Dropout = 0.1


class CrfOptions(Strict):
    """A tag for every token, by a conditional random field (SPEC M5)."""

    type: Literal["crf"] = "crf"
    dropout: _Dropout = 0.1


class BiLstmCrfOptions(Strict):
    """A conditional random field on a bidirectional LSTM (SPEC M5)."""

    type: Literal["bilstm_crf"] = "bilstm_crf"
    hidden: Positive = Field(default=128, description="Width of each direction.")
    dropout: _Dropout = 0.1


class QuestionAnsweringOptions(Strict):
    """Start and end of the answer in the text, or that there is none."""

    type: Literal["question_answering"] = "question_answering"
    dropout: _Dropout = 0.1


class TfidfOptions(Strict):
    """The item's TF-IDF vector (SPEC D14), projected."""

    type: Literal["tfidf"] = "tfidf"
    width: Positive = 64


class WordVectorsOptions(Strict):
    """The item's mean Word2Vec vector (SPEC D13), projected."""

    type: Literal["word_vectors"] = "word_vectors"
    width: Positive = 64


class OtherOptions(BaseModel):
    """A type that an installed distribution registers; its own class checks its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str

    @field_validator("type")
    @classmethod
    def _is_registered(cls, name: str) -> str:
        registered(name)
        return name


_PER_TEXT = ("classification", "multi_label", "regression")
SERVES: dict[str, tuple[str, ...]] = {
    "sequence": _PER_TEXT,
    "bilstm": _PER_TEXT,
    "regression": ("regression",),
    "tfidf": _PER_TEXT,
    "word_vectors": _PER_TEXT,
    "tokens": ("entities",),
    "crf": ("entities",),
    "bilstm_crf": ("entities",),
    "question_answering": ("question_answering",),
}
FEATURES = ("tfidf", "word_vectors")  # types whose vectors come from the asset of the same name
NATURAL: dict[str, Any] = {
    "classification": SequenceOptions(),
    "multi_label": SequenceOptions(),
    "entities": CrfOptions(),
    "question_answering": QuestionAnsweringOptions(),
    "regression": RegressionOptions(),
}


def _tag(value: Any) -> str:
    name = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return name if name in SERVES else "other"


ModuleOptions = Annotated[
    Annotated[SequenceOptions, Tag("sequence")]
    | Annotated[BiLstmOptions, Tag("bilstm")]
    | Annotated[RegressionOptions, Tag("regression")]
    | Annotated[TfidfOptions, Tag("tfidf")]
    | Annotated[WordVectorsOptions, Tag("word_vectors")]
    | Annotated[TokensOptions, Tag("tokens")]
    | Annotated[CrfOptions, Tag("crf")]
    | Annotated[BiLstmCrfOptions, Tag("bilstm_crf")]
    | Annotated[QuestionAnsweringOptions, Tag("question_answering")]
    | Annotated[OtherOptions, Tag("other")],
    Discriminator(_tag),
]


class Cascade(Strict):
    """TF-IDF with logistic regression first; the network only where it is not sure (SPEC M8)."""

    threshold: Fraction = Field(
        default=0.9, description="Calibrated confidence from which the network is skipped."
    )


def registered(name: str) -> EntryPoint:
    """The entry point of a module type, not loaded yet (SPEC M10).

    Raises:
        ModuleError: no installed distribution registers it; the message lists the types there are.
    """
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in found:
        raise ModuleError(
            f"no module type {name!r}; there are {', '.join([*SERVES, *sorted(found)])}. Others "
            f"come with a distribution that registers the entry point '{name}' in the group "
            f"'{ENTRY_POINTS}'; is it installed?"
        )
    return found[name]


def check_fit(
    kind: str, modules: Sequence[Any], fusion: str | None, cascade: Cascade | None
) -> None:
    """Modules, fusion and cascade against the task's kind.

    Raises:
        ValueError: names field and remedy.
    """
    for module in modules:
        if kind not in SERVES.get(module.type, (kind,)):
            fitting = ", ".join(name for name, kinds in SERVES.items() if kind in kinds)
            raise ValueError(
                f"model.modules: {module.type!r} can't serve a task of kind {kind}; use {fitting}"
            )
    names = [module.type for module in modules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"model.modules names {twice[0]!r} twice; remove one")
    if len(modules) > 1 and kind not in _PER_TEXT:
        raise ValueError(
            f"a task of kind {kind} takes one module, model.modules names {len(modules)}; keep one"
        )
    if len(modules) > 1 and fusion is None:
        raise ValueError(
            f"model.modules names {len(modules)} modules; say how their outputs become one by "
            "model.fusion: weighted_sum | attention_gate"
        )
    if len(modules) == 1 and fusion is not None:
        raise ValueError(
            "model.fusion joins several modules, model.modules has one; remove model.fusion"
        )
    if cascade is not None and kind != "classification":
        raise ValueError(
            f"model.cascade is for classification, the task is {kind}; remove model.cascade"
        )
