"""Checkpoints for use: Hugging Face directories that `from_pretrained` opens, with a manifest."""

import hashlib
import json
import math
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertical_assets.spec import VerticalSpec
from vertical_assets.store.versions import LOG, LOG_TABLE, MANIFEST

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_PACKAGES = ("torch", "transformers", "tokenizers", "lightning", "numpy")


def write_checkpoint(
    directory: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    manifest: dict[str, Any],
    log: list[dict[str, Any]],
) -> None:
    """config.json, model.safetensors, tokenizer.json, manifest.json, training_log.jsonl, .csv."""
    from vertical_assets.training.loop.logs import as_csv

    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True))
    (directory / LOG).write_text("".join(f"{json.dumps(line)}\n" for line in log))
    (directory / LOG_TABLE).write_text(as_csv(log))


def open_base(path: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerFast]":
    """An encoder with its prediction head, if it has one, in float, and its tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer

    names = AutoConfig.from_pretrained(path).architectures or []
    with_head = any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in names)
    kind = AutoModelForMaskedLM if with_head else AutoModel
    model = kind.from_pretrained(path, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(path)


def parameters_in(path: Path) -> int:
    """Number of values in a checkpoint's weights, without reading them; tied ones count once."""
    from safetensors import safe_open

    total = 0
    for file in path.glob("*.safetensors"):
        with safe_open(file, framework="numpy") as opened:
            shapes = (opened.get_slice(name).get_shape() for name in opened.keys())  # noqa: SIM118
            total += sum(map(math.prod, shapes))
    return total


def work_folder(spec: VerticalSpec, asset: str, code_version: str, inputs: dict[str, str]) -> Path:
    """Local folder of one training: a killed run is resumed only by one of the same code,
    configuration and inputs, because these make its name.
    """
    identity = json.dumps([spec.name, asset, code_version, inputs], sort_keys=True)
    name = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return Path(os.environ.get("VERTICAL_WORK", "data/work")) / spec.name / asset / name


def manifest_of(
    spec: VerticalSpec, asset: str, inputs: dict[str, str], metrics: dict[str, float], **more: Any
) -> dict[str, Any]:
    """What a checkpoint was made from: input versions, spec digest, seed, metrics, packages."""
    return {
        "vertical": spec.name,
        "asset": asset,
        "inputs": inputs,
        "spec": spec.digest(list(type(spec).model_fields)),
        "seed": spec.seed,
        "metrics": metrics,
        "packages": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        **more,
    }
