"""Spec of what is done to a base model before it is trained on (SPEC M2, M3)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from vertical_assets.spec.corpus import Dictionary
from vertical_assets.spec.section import Positive, Strict

Layers = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...],
    Field(min_length=1, description="Numbers of layers, from 0, rising."),
]


def rising(layers: tuple[int, ...] | None, field: str) -> None:
    """Refuses layer numbers that are not in rising order, each once."""
    if layers and list(layers) != sorted(set(layers)):
        raise ValueError(
            f"{field} is {list(layers)}; write each layer's number once, in rising order"
        )


class PruneVocabulary(Strict):
    """The tokenizer keeps what the corpus uses; the embeddings are cut to match."""

    min_count: Positive = Field(
        default=1,
        description="How often the corpus has a piece that is kept. Above 1, texts with rarer "
        "pieces are cut into smaller ones than before.",
    )
    extra_tokens: tuple[str, ...] = Field(
        default=(), description="Words whose pieces are kept though the corpus has none of them."
    )


class KeywordAttention(Strict):
    """More attention to terms of the domain: a learned addend per layer and head (SPEC M3)."""

    dictionaries: tuple[Dictionary, ...] = Field(
        default=(), description="Lists of terms; those of `clean.dictionaries` where empty."
    )
    layers: Layers | None = Field(
        default=None, description="Layers (as numbered after the cut) that get it; all by default."
    )
    init: Annotated[float, Field(ge=-10, le=10)] = Field(
        default=0.0, description="First value; at 0 the model is the plain one."
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        rising(self.layers, "model.keyword_attention.layers")
        return self
