"""Spec of evaluation: what counts as good (SPEC E1-E6, T12)."""

from typing import Annotated

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


class Slices(Strict):
    """Parts of the held-out items on which the model may not collapse (SPEC T12)."""

    min_items: Positive = Field(default=30, description="A smaller slice refuses no model.")
    max_drop: Fraction = Field(
        default=0.25,
        description="How far a slice may fall below all items, at the better end of its 95 % "
        "interval: in accuracy or F1; of a mean absolute error, as a share of it.",
    )
    length_bins: Annotated[int, Field(ge=2)] = Field(
        default=4, description="Slices by length (and by value, of regression), equally full."
    )


class Errors(Strict):
    """Which items people should look at again (SPEC T12)."""

    train_items: Positive = Field(
        default=15_000,
        description="Training items at most that neighbours and outliers are looked for among; of "
        "more, a sample: each costs a pass through the model.",
    )
    outliers: Annotated[float, Field(gt=0.0, lt=0.5)] = Field(
        default=0.01, description="Share of the items, the oddest ones, that are marked."
    )
    confidence: Fraction = Field(
        default=0.9, description="A wrong prediction this sure is marked; so may the label be."
    )


class Evaluate(Strict):
    """What counts as good (SPEC E1, E2)."""

    f1: Fraction = Field(default=0.90, description="F1 from which a model is excellent (E1).")
    rouge_l: Fraction = Field(default=0.75, description="ROUGE-L from which answers are good (E2).")
    xgboost: XGBoost | None = Field(
        default=XGBoost(), description="The second baseline (E4); null leaves it out."
    )
    slices: Slices = Slices()
    errors: Errors = Errors()
