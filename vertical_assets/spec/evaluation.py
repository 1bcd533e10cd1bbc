"""Spec of evaluation: what counts as good (SPEC E1-E6, T12)."""

from pydantic import Field

from vertical_assets.spec.section import Fraction, Positive, Strict


class XGBoost(Strict):
    """The baseline of gradient-boosted trees on TF-IDF (E4). Its time grows with rounds x labels
    x features.
    """

    rounds: Positive = Field(default=20, description="Trees of each label.")
    depth: Positive = Field(default=6, description="Of a tree; XGBoost's default.")
    learning_rate: float = Field(default=0.5, gt=0.0, le=1.0, description="Weight of a round.")
    features: Positive = Field(default=3000, description="Most frequent n-grams that it reads.")


class Evaluate(Strict):
    """What counts as good (SPEC E1, E2)."""

    f1: Fraction = Field(default=0.90, description="F1 from which a model is excellent (E1).")
    rouge_l: Fraction = Field(default=0.75, description="ROUGE-L from which answers are good (E2).")
    xgboost: XGBoost | None = Field(
        default=XGBoost(), description="The second baseline (E4); null leaves it out."
    )
