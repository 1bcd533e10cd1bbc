"""Types of modules by name, their options and their interfaces (SPEC M9, M10)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vertical_assets.inference.interfaces import INPUTS, OUTPUTS, TextInput
from vertical_assets.spec.modules import SERVES, ModuleError, registered
from vertical_assets.training.modules import per_text, per_token
from vertical_assets.training.modules.interface import Module

INTERFACE = "interface.json"


def module_type(name: str) -> type[Module]:
    """The class of a module type, the package's own or one that an entry point registers.

    Raises:
        ModuleError: there is none of this name, or it is no subclass of Module.
    """
    if name in SERVES:
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
