"""What a module is (SPEC M9): the base of the package's own types and of those of others.

A distribution adds a type by an entry point in the group `vertical_assets.modules` that names a
subclass of `Module`; `model.modules: [{type: <name of the entry point>, ...}]` then uses it.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from pydantic import BaseModel
from torch import nn

from vertical_assets.inference.interfaces import VectorOutput


class Module(nn.Module, ABC):
    """One module: from the encoder's states, or from a feature of the item, to vectors.

    Attributes:
        kinds: kinds of tasks that it serves.
        options: pydantic model of its options in YAML, `type` among them.
        per_token: whether it gives a vector for every token instead of one per text.
        chained: whether the tags made from its vectors depend on their neighbours (CRF).
        reads_first_token: whether it reads no other state than the first token's, so that the
            others need not be computed in the last layer.
        feature: the asset whose vectors it reads, or None for the encoder's states.
        output: what it gives where it does not answer the task itself, but joins a fusion.
        width: of its vectors; set by its constructor.
    """

    kinds: ClassVar[tuple[str, ...]]
    options: ClassVar[type[BaseModel]]
    per_token: ClassVar[bool] = False
    chained: ClassVar[bool] = False
    reads_first_token: bool = False
    feature: ClassVar[str | None] = None
    output: ClassVar[type[BaseModel]] = VectorOutput
    width: int

    def __init__(self, options: Any, width_in: int) -> None:
        """`width_in` is the encoder's width, or that of the feature."""
        super().__init__()

    @abstractmethod
    def forward(self, states: Any, mask: torch.Tensor) -> torch.Tensor:
        """Vectors, rows x width (rows x length x width where `per_token`).

        Args:
            states: rows x length x width_in of the encoder; or the feature's batch.
            mask: rows x length, ones first.
        """
