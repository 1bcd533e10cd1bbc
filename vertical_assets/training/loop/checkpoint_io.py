"""Checkpoints of a running training: tensors as safetensors, the rest as JSON; no pickle.

Written aside and renamed, so that a process may be killed while it saves.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors import safe_open
from safetensors.torch import save_file

_TENSOR, _TUPLE, _ITEMS = "__tensor__", "__tuple__", "__items__"


class SafeCheckpointIO(CheckpointIO):
    """Lightning's checkpoint dictionary in one safetensors file; JSON stands in its header."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        tensors: dict[str, torch.Tensor] = {}
        tree = json.dumps(_pack(checkpoint, tensors))
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        save_file(tensors, partial, metadata={"tree": tree})
        partial.replace(target)

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = None, weights_only: Any = None
    ) -> dict[str, Any]:
        with safe_open(path, framework="pt") as file:
            return _unpack(json.loads(file.metadata()["tree"]), file.get_tensor)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        Path(path).unlink(missing_ok=True)


def global_step(path: Path) -> int:
    """The step that a checkpoint was written after."""
    with safe_open(path, framework="pt") as file:
        return int(json.loads(file.metadata()["tree"])["global_step"])


def _pack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().clone().contiguous()
        return {_TENSOR: name}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _pack(item, tensors) for key, item in value.items()}
        return {_ITEMS: [[_pack(k, tensors), _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_pack(item, tensors) for item in value]}
    if isinstance(value, (list, set)):
        return [_pack(item, tensors) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, os.PathLike):
        return str(value)
    raise TypeError(f"{type(value).__name__} can't be checkpointed; keep it out of the state")


def _unpack(value: Any, tensor: Any) -> Any:
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensor(value[_TENSOR])
        if _TUPLE in value:
            return tuple(_unpack(item, tensor) for item in value[_TUPLE])
        if _ITEMS in value:
            return {_unpack(k, tensor): _unpack(v, tensor) for k, v in value[_ITEMS]}
        return {key: _unpack(item, tensor) for key, item in value.items()}
    if isinstance(value, list):
        return [_unpack(item, tensor) for item in value]
    return value
