"""Spec of the Label Studio server that people label on (SPEC D7)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from vertical_assets.spec.section import Fraction, Positive, Strict

PULLED = "annotations/label_studio-1-1.jsonl"  # a batch: numbers of the project and of the pull
# The server's bounds (PROJECT_TITLE_MIN_LEN, PROJECT_TITLE_MAX_LEN).
LONGEST = 50
Title = Annotated[str, Field(min_length=3, max_length=LONGEST)]
DECIDES = " adjudication"  # behind the project's title, where the other has none of its own


class LabelStudio(Strict):
    """A project on the Label Studio server, which the resource `label_studio` names."""

    project: Title | None = Field(default=None, description="Its title; default: the vertical's.")
    adjudication: Title | None = Field(
        default=None,
        description="Title of the project for disputed items; default: `<project> adjudication`.",
    )
    annotators: Annotated[int, Field(ge=2)] = Field(
        default=2, description="People who label an item; with fewer it is not taken (D8)."
    )
    overlap: Fraction = Field(
        default=1.0,
        description="Share of the items that need `annotators`; one person does for the others. A "
        "batch waits until `agreement.overlap` of its items have two.",
    )
    batch: Positive = Field(
        default=50,
        description="Items that are waited for before they become a batch: agreement on fewer says "
        "little. `vertical-assets label-studio pull` takes what there is.",
    )

    @model_validator(mode="after")
    def _adjudication_has_a_title(self) -> Self:
        if self.project and not self.adjudication and len(self.project) > LONGEST - len(DECIDES):
            raise ValueError(
                f"'{self.project}{DECIDES}' has more than {LONGEST} characters; shorten 'project' "
                "or set 'adjudication'"
            )
        if self.project and self.project == self.adjudication:
            raise ValueError(
                f"'project' and 'adjudication' are both {self.project!r}: what people label and "
                "what they decide would be one; rename one of them"
            )
        return self
