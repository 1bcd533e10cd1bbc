"""Spec of evaluation: what counts as good (SPEC E1-E6, T12)."""

from pydantic import Field

from vertical_assets.spec.section import Fraction, Strict


class Evaluate(Strict):
    """What counts as good (SPEC E1, E2)."""

    f1: Fraction = Field(default=0.90, description="F1 from which a model is excellent (E1).")
    rouge_l: Fraction = Field(default=0.75, description="ROUGE-L from which answers are good (E2).")
