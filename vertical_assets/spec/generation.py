"""Spec of generation: pairs of question and answer, instruction tuning, sampling (SPEC M1, E2)."""

from typing import Annotated, Literal

from pydantic import Field

from vertical_assets.spec.section import Fraction, Positive, Strict


class Pairs(Strict):
    """Where a generation vertical's pairs come from: the sources themselves carry them.

    A document with a prompt is a pair: its text is the answer. One without only takes part in the
    pretraining.
    """

    prompt: str = Field(default="question", description="Entry of `meta` that holds the prompt.")
    question_type: str | None = Field(
        default=None, description="Entry of `meta` that holds one of `task.question_types` (D6)."
    )


class Lora(Strict):
    """Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685); merged into the weights at the end.

    Defaults are those of peft, but for the targets: Dettmers et al. 2023 (arXiv:2305.14314, section
    4) found all linear layers needed to match full tuning.
    """

    rank: Positive = 8
    alpha: Positive = Field(default=8, description="The update is scaled by alpha / rank.")
    dropout: Fraction = 0.0
    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        default="all-linear", description="Names of the layers that are adapted, or all linear."
    )


class Instruct(Strict):
    """Instruction tuning: how a pair is written, and which weights learn."""

    template: str | None = Field(
        default=None,
        description="Chat template (Jinja) with `messages` and `add_generation_prompt`; the "
        "base's own, or one with a line per role, where not given.",
    )
    system: str | None = Field(default=None, description="System message of every pair.")
    lora: Lora | None = Field(default=None, description="All weights learn where not given.")


class Generate(Strict):
    """How answers are sampled."""

    max_new_tokens: Positive = 128
    temperature: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.0, description="0: always the likeliest token."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Tokens are drawn from the likeliest that reach this probability."
    )
