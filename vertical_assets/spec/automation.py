"""Spec of the closed loop (SPEC C5, O3, T12)."""

from typing import Annotated

from pydantic import Field

from vertical_assets.spec.section import Positive, Strict


class Automate(Strict):
    """What happens by itself when labels come; it takes effect while the daemon runs."""

    retrain: bool = Field(
        default=True,
        description="New labels train a new model and decide on its release (C5, O3); false leaves "
        "both to `vertical-assets build`.",
    )
    quiet_seconds: Annotated[int, Field(ge=0)] = Field(
        default=30,
        description="How long the labels have to rest before a training: batches that come one "
        "after the other make one training, not many.",
    )
    interval_seconds: Positive = Field(
        default=30, description="Between two looks of the automation."
    )
