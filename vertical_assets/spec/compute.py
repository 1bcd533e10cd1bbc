"""Spec of how training is computed: processes, privacy, search (SPEC M4, T2, X1)."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from vertical_assets.spec.section import Fraction, Positive, Strict


class Processes(Strict):
    """How many processes train together, and how (SPEC T2); `resource_plan` proposes values."""

    devices: Positive = Field(default=1, description="Processes on each machine; one per card.")
    num_nodes: Positive = Field(default=1, description="Machines.")
    strategy: Literal["ddp", "fsdp"] = Field(
        default="ddp",
        description="ddp: each process holds the whole model; fsdp: weights, gradients and states "
        "are divided among them.",
    )
    rendezvous: str | None = Field(
        default=None, description="host:port of the first machine; needed with several."
    )
    accumulation: Positive = Field(
        default=1, description="Batches of a process that are added up before a step."
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Layers are computed again in the backward pass: less memory."
    )

    @model_validator(mode="after")
    def _machines_meet(self) -> Self:
        if self.num_nodes > 1 and not self.rendezvous:
            raise ValueError(
                "processes.num_nodes above 1 needs 'rendezvous', host:port of the first machine"
            )
        return self

    @property
    def count(self) -> int:
        """Processes on all machines."""
        return self.devices * self.num_nodes

    @property
    def batches_per_step(self) -> int:
        """Batches of `batch_tokens` that make one step of the optimizer."""
        return self.count * self.accumulation


class Privacy(Strict):
    """Differential privacy of fine-tuning (SPEC X1): DP-SGD, Abadi et al. 2016."""

    epsilon: Annotated[float, Field(gt=0)] = Field(description="Privacy budget of the whole run.")
    delta: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=1e-5, description="Chance that the budget doesn't hold (X1)."
    )
    max_grad_norm: Annotated[float, Field(gt=0)] = Field(
        default=1.0, description="An item's gradient is cut to this norm."
    )
    rows: Positive | None = Field(
        default=None,
        description="Expected items per step; batch_tokens / model.max_tokens where not given.",
    )


class Range(Strict):
    """Values to try for one key: between `low` and `high`, or one of `choices`."""

    low: float | None = None
    high: float | None = None
    log: bool = Field(default=False, description="Tried on a logarithmic scale.")
    choices: tuple[float | str, ...] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("a search parameter needs 'low' and 'high', or 'choices'; keep one")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) is not below high ({self.high:g}); swap them")
        if self.log and not (self.low or 0) > 0:
            raise ValueError("a logarithmic scale needs 'low' above 0")
        return self


class Search(Strict):
    """Hyper-parameter search by Optuna; proposes, and leaves the YAML as it is."""

    trials: Positive = 20
    parameters: dict[str, Range] = Field(
        description="finetune.<key> -> [low, high], [low, high, log] or {choices: [...]}."
    )
    timeout_s: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="No new trial starts after so many seconds."
    )
    sample: Fraction = Field(default=0.3, description="Share of the training split that is used.")

    @field_validator("parameters", mode="before")
    @classmethod
    def _lists_are_ranges(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        found: dict[object, object] = {}
        for key, given in value.items():
            found[key] = given
            if isinstance(given, (list, tuple)):
                if len(given) not in (2, 3) or given[2:] not in ([], ["log"], (), ("log",)):
                    raise ValueError(
                        f"search.parameters: {key} is {list(given)}; write [low, high], or "
                        "[low, high, log], or {choices: [...]}"
                    )
                found[key] = {"low": given[0], "high": given[1], "log": len(given) == 3}
        return found

    @model_validator(mode="after")
    def _something_to_search(self) -> Self:
        if not self.parameters:
            raise ValueError("search.parameters names nothing; list finetune keys with their range")
        for key in self.parameters:
            if key.partition(".")[0] != "finetune" or not key.partition(".")[2]:
                raise ValueError(
                    f"search.parameters: {key!r} is not searched; name keys as finetune.<key>"
                )
        if self.sample <= 0 or math.isnan(self.sample):
            raise ValueError("search.sample leaves nothing to train on; raise it")
        return self
