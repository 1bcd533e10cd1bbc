"""What a module is: the package's own types and those of other distributions (SPEC M9, M10).

A distribution adds a type by an entry point in the group `vertical_assets.modules` that names a
subclass of `Module`; `model.modules: [{type: <name of the entry point>, ...}]` then uses it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ValidationError
from torch import nn

from vertical_assets.inference.interfaces import INPUTS, OUTPUTS, TextInput, VectorOutput
from vertical_assets.spec.modules import SERVES, ModuleError, registered

INTERFACE = "interface.json"


class Module(nn.Module):
    """One module: from the encoder's states, or from a feature of the item, to vectors.

    Attributes:
        kinds: kinds of tasks that it serves.
        options: pydantic model of its options in YAML, `type` among them.
        per_token: whether it gives a vector for every token instead of one per text.
        chained: whether the tags made from its vectors depend on their neighbours (CRF).
        feature: the asset whose vectors it reads, or None for the encoder's states.
        output: what it gives where it does not answer the task itself, but joins a fusion.
        width: of its vectors; set by its constructor.
    """

    kinds: ClassVar[tuple[str, ...]]
    options: ClassVar[type[BaseModel]]
    per_token: ClassVar[bool] = False
    chained: ClassVar[bool] = False
    feature: ClassVar[str | None] = None
    output: ClassVar[type[BaseModel]] = VectorOutput
    width: int

    def __init__(self, options: Any, width_in: int) -> None:
        """`width_in` is the encoder's width, or that of the feature."""
        super().__init__()

    def forward(self, states: Any, mask: torch.Tensor) -> torch.Tensor:
        """Vectors, rows x width (rows x length x width where `per_token`).

        Args:
            states: rows x length x width_in of the encoder; or the feature's batch.
            mask: rows x length, ones first.
        """
        raise NotImplementedError


def module_type(name: str) -> type[Module]:
    """The class of a module type, the package's own or one that an entry point registers.

    Raises:
        ModuleError: there is none of this name, or it is no subclass of Module.
    """
    if name in SERVES:
        from vertical_assets.training.modules import per_text, per_token

        return {**per_text.TYPES, **per_token.TYPES}[name]
    found = registered(name).load()
    if not (isinstance(found, type) and issubclass(found, Module)):
        raise ModuleError(
            f"the entry point {name!r} names {found!r}, which is no subclass of {Module.__module__}"
            f".{Module.__qualname__}; correct it in its distribution"
        )
    return found


def checked_options(name: str, given: Mapping[str, Any], kind: str) -> BaseModel:
    """A module's options by its own class.

    Raises:
        ModuleError: an option is wrong or the module does not serve the kind; names both.
    """
    found = module_type(name)
    if kind not in found.kinds:
        raise ModuleError(
            f"model.modules: {name!r} serves {', '.join(found.kinds)}, the task is {kind}; "
            "use another module"
        )
    try:
        return found.options.model_validate(dict(given))
    except ValidationError as error:
        raise ModuleError(f"model.modules: options of {name!r}: {error}") from error


def interface_of(kind: str, modules: list[dict[str, Any]]) -> dict[str, Any]:
    """Input and output of the model and of each of its modules, as JSON Schemas (SPEC M9)."""
    whole = {"input": INPUTS.get(kind, TextInput), "output": OUTPUTS[kind]}
    alone = len(modules) == 1
    return {
        "kind": kind,
        **{name: model.model_json_schema() for name, model in whole.items()},
        "modules": [
            {
                "type": options["type"],
                "input": whole["input"].model_json_schema(),
                "output": (
                    whole["output"] if alone else module_type(options["type"]).output
                ).model_json_schema(),
                "options": module_type(options["type"]).options.model_json_schema(),
            }
            for options in modules
        ],
    }


def write_interface(directory: Path, kind: str, modules: list[dict[str, Any]]) -> None:
    """`interface.json` beside a checkpoint."""
    text = json.dumps(interface_of(kind, modules), ensure_ascii=False, indent=2, sort_keys=True)
    (directory / INTERFACE).write_text(text)
