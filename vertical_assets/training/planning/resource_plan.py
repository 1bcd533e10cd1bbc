"""The resource plan: what a vertical's trainings cost, and how to fit them to the devices that are
there (SPEC M4, T1). It proposes; the YAML decides, so that the same YAML gives the same model on
every machine. Memory is what PyTorch allocates; libraries and the corpus come on top.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch

from vertical_assets.spec import Processes, VerticalSpec
from vertical_assets.training.adaptation.tokenizing import tokenized
from vertical_assets.training.loop.batches import Steps
from vertical_assets.training.loop.loop import computes_in_bf16
from vertical_assets.training.loop.monitor import MOST_MEMORY
from vertical_assets.training.planning.costs import (
    Memory,
    Network,
    Shape,
    Way,
    network_of,
    six_n_d,
    step_flops,
    step_memory,
    without_dropout,
)

LEAST_TOKENS = 256  # a batch is not divided below this: small batches leave a device idle
GB = 10**9


@dataclass(frozen=True)
class Devices:
    """What is there to train on: cards of one machine, or its processor."""

    kind: Literal["cuda", "cpu"]
    name: str
    count: int
    memory: int  # bytes of each
    half: bool  # computes in bf16

    @property
    def usable(self) -> int:
        """80 % of a device's memory (SPEC T1)."""
        return int(MOST_MEMORY * self.memory)


@dataclass(frozen=True)
class Job:
    """One training: its network, tokens per batch and how often."""

    name: Literal["pretrain", "finetune"]
    network: Network
    batch_tokens: int
    width: int  # of the longest row
    mean_length: float
    predicted: float  # positions predicted, per token for tokens, per row for classes
    steps: int
    tokens: int  # of all steps
    per_sample: bool = False
    alone: bool = False  # the vertical's trainings are of one process each
    plain: bool = False  # they neither add up batches nor compute layers twice
    precision: Literal["auto", "bf16", "fp32"] = "auto"

    def half_on(self, devices: Devices) -> bool:
        """Whether it computes in half precision as configured; a private training never does."""
        if self.per_sample or self.precision == "fp32":
            return False
        return devices.half or self.precision == "bf16"

    def shape(self, tokens: int) -> Shape:
        """The widest batch of so many tokens, which needs the most memory."""
        width = min(self.width, tokens)
        rows = max(1, tokens // width)
        return Shape(rows, width, round(self.predicted * (rows * width if self.by_token else rows)))

    @property
    def usual(self) -> Shape:
        """A batch of rows of the mean length, for the operations."""
        width = max(1, round(self.mean_length))
        rows = max(1, self.batch_tokens // width)
        return Shape(rows, width, round(self.predicted * (rows * width if self.by_token else rows)))

    @property
    def by_token(self) -> bool:
        return self.network.head == "tokens"


@dataclass(frozen=True)
class Choice:
    """How to compute a step, and what it takes on each device."""

    precision: str
    devices: int
    strategy: Literal["single", "ddp", "fsdp"]
    tokens: int  # of a batch of one process
    accumulation: int
    checkpointing: bool
    memory: Memory
    fits: bool


def yaml_of(jobs: Sequence[Job], choices: Sequence[Choice]) -> str:
    """The lines of YAML that say this."""
    lines = []
    for job, choice in zip(jobs, choices, strict=True):
        lines += [f"{job.name}:", f"  batch_tokens: {choice.tokens}", "  precision: auto"]
    common = choices[0]
    return "\n".join(
        [
            *lines,
            "processes:",
            f"  devices: {common.devices}",
            f"  strategy: {'ddp' if common.strategy == 'single' else common.strategy}",
            f"  accumulation: {common.accumulation}",
            f"  gradient_checkpointing: {str(common.checkpointing).lower()}",
        ]
    )


def found_devices() -> Devices:
    """The cards of this machine, or else its processor with all of its memory."""
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        return Devices(
            "cuda",
            card.name,
            torch.cuda.device_count(),
            card.total_memory,
            computes_in_bf16(),
        )
    memory = psutil.virtual_memory().total
    return Devices("cpu", f"processor, {os.cpu_count()} cores", 1, memory, computes_in_bf16())


def memory_as_configured(job: Job, processes: Processes, devices: Devices) -> Memory:
    """Bytes on each device with the YAML as it is."""
    way = Way(
        half=job.half_on(devices),
        cuda=devices.kind == "cuda",
        checkpointing=processes.gradient_checkpointing,
        sharded=processes.count if processes.strategy == "fsdp" else 1,
        per_sample=job.per_sample,
    )
    return step_memory(job.network, job.shape(job.batch_tokens), way)


def choose(
    jobs: Sequence[Job],
    devices: Devices,
    processes: Processes = Processes(),  # noqa: B008
) -> list[Choice]:
    """The cheapest way for all trainings of a vertical, which share the section `processes`, that
    fits into 80 % of a device's memory (SPEC M4); how each computes a step that way.

    A step keeps the tokens that the YAML asks for. In the order of their price: all devices with
    the whole model on each (ddp); smaller batches that are added up, which cost nothing while they
    keep a device busy; layers computed again in the backward pass (a third more operations); the
    model divided among the devices (fsdp), which costs their connection. Half precision is always
    taken where the device has it. Where nothing fits, the smallest is returned with `fits` false.
    """
    steps = [job.batch_tokens * processes.batches_per_step for job in jobs]
    alone, plain = (any(getattr(job, name) for job in jobs) for name in ("alone", "plain"))
    count = 1 if alone else max(1, min(devices.count, min(steps) // LEAST_TOKENS))
    strategies: list[Literal["single", "ddp", "fsdp"]] = (
        ["single"] if count == 1 else ["ddp", "fsdp"]
    )
    smallest: list[Choice] | None = None
    for strategy in strategies:
        for checkpointing in (False,) if plain else (False, True):
            accumulation = 1
            while True:
                tokens = [max(1, step // count // accumulation) for step in steps]
                choices = [
                    _choice(job, of_step, devices, count, strategy, accumulation, checkpointing)
                    for job, of_step in zip(jobs, tokens, strict=True)
                ]
                if all(choice.fits for choice in choices):
                    return choices
                if smallest is None or _peak(choices) < _peak(smallest):
                    smallest = choices
                least = (max(LEAST_TOKENS, job.width) for job in jobs)
                if plain or any(t // 2 < m for t, m in zip(tokens, least, strict=True)):
                    break
                accumulation *= 2
    assert smallest is not None
    return smallest


def _choice(
    job: Job,
    tokens: int,
    devices: Devices,
    count: int,
    strategy: Literal["single", "ddp", "fsdp"],
    accumulation: int,
    checkpointing: bool,
) -> Choice:
    way = Way(
        half=devices.half and not job.per_sample,
        cuda=devices.kind == "cuda",
        checkpointing=checkpointing,
        sharded=count if strategy == "fsdp" else 1,
        per_sample=job.per_sample,
    )
    memory = step_memory(job.network, job.shape(tokens), way)
    return Choice(
        precision="bf16-mixed" if way.half else "32-true",
        devices=count,
        strategy=strategy,
        tokens=tokens,
        accumulation=accumulation,
        checkpointing=checkpointing,
        memory=memory,
        fits=memory.peak <= devices.usable,
    )


def _peak(choices: Sequence[Choice]) -> int:
    return max(choice.memory.peak for choice in choices)


def balance(steps: Steps, devices: int) -> float:
    """Mean over the steps of (tokens of the busiest device / mean of all devices); 1 is even.

    Tokens with their padding, as batches go to devices in turn.
    """
    if devices == 1:
        return 1.0
    loads = [
        int(steps.lengths[rows].sum() if steps.packed else len(rows) * steps.lengths[rows].max())
        for rows in steps.epoch(0)
    ]
    whole = len(loads) // devices * devices
    if not whole:
        return float(devices)
    table = np.array(loads[:whole]).reshape(-1, devices)
    return float((table.max(axis=1) / table.mean(axis=1)).mean())


def jobs_of(
    spec: VerticalSpec, pretrained: Network, finetuned: Network, lengths: np.ndarray, labeled: int
) -> list[Job]:
    """Pretraining on all documents; fine-tuning on as many of them as can be in the training split.

    Args:
        spec: sections `pretrain`, `finetune`, `processes`, `model`.
        pretrained: the network that predicts masked tokens.
        finetuned: the network with the classifier.
        lengths: tokens of each document, cut to `model.max_tokens`.
        labeled: most items of the training split; the labels come later than this plan.
    """
    width, mean = int(lengths.max(initial=1)), float(lengths.mean())
    several = spec.processes.batches_per_step

    def steps(tokens: float, batch: int, epochs: float) -> int:
        return max(1, round(tokens * epochs / batch / several))

    items = mean * labeled
    private = spec.finetune.privacy is not None
    # What the spec allows in `processes`, which both trainings share.
    allowed: dict[str, Any] = {
        "alone": private or not spec.model.is_plain(spec.task.kind),
        "plain": private,
    }
    return [
        Job(
            "pretrain",
            pretrained,
            spec.pretrain.batch_tokens,
            width,
            mean,
            spec.pretrain.mask,
            steps(float(lengths.sum()), spec.pretrain.batch_tokens, spec.pretrain.epochs),
            int(lengths.sum() * spec.pretrain.epochs),
            precision=spec.pretrain.precision,
            **allowed,
        ),
        Job(
            "finetune",
            finetuned,
            spec.finetune.batch_tokens,
            width,
            mean,
            1.0,
            steps(items, spec.finetune.batch_tokens, spec.finetune.epochs),
            int(items * spec.finetune.epochs),
            per_sample=private,
            precision=spec.finetune.precision,
            **allowed,
        ),
    ]


def rows_of(
    jobs: Sequence[Job], devices: Devices, processes: Processes, evenness: float
) -> list[dict[str, Any]]:
    """The plan as rows: training, quantity, value, unit, what it means."""
    rows: list[dict[str, Any]] = []
    for job, choice in zip(jobs, choose(jobs, devices, processes), strict=True):
        configured = memory_as_configured(job, processes, devices)
        way = Way(cuda=devices.kind == "cuda", checkpointing=processes.gradient_checkpointing)
        per_step = step_flops(job.network, job.usual, way) * processes.batches_per_step
        figures: list[tuple[str, float, str, str]] = [
            ("parameters", job.network.parameters, "1", "weights of the network"),
            ("trained_parameters", job.network.trained_parameters, "1", "not frozen"),
            ("tokens", job.tokens, "1", "of all epochs"),
            ("steps", job.steps, "1", "steps of the optimizer"),
            ("flops_per_step", per_step, "1", "batch of rows of the mean length"),
            ("flops", float(per_step) * job.steps, "1", "of the whole training"),
            ("flops_6nd", float(six_n_d(job.network, job.tokens)), "1", "rule of thumb 6 N D"),
            ("weights", configured.weights, "bytes", "as configured, on each device"),
            ("gradients", configured.gradients, "bytes", "as configured"),
            ("optimizer", configured.optimizer, "bytes", "as configured; AdamW's states"),
            ("activations", configured.activations, "bytes", "as configured; widest batch"),
            ("peak", configured.peak, "bytes", "as configured; highest in a step"),
            ("memory_share", configured.peak / devices.memory, "1", "of a device's memory"),
            ("chosen_peak", choice.memory.peak, "bytes", f"{choice.precision}, {choice.strategy}"),
            ("chosen_batch_tokens", choice.tokens, "1", "of one process"),
            ("chosen_devices", choice.devices, "1", devices.name),
            ("chosen_accumulation", choice.accumulation, "1", "batches added up before a step"),
            ("chosen_checkpointing", float(choice.checkpointing), "1", "1: layers twice"),
        ]
        rows += [
            {"training": job.name, "quantity": q, "value": float(v), "unit": u, "meaning": m}
            for q, v, u, m in figures
        ]
    rows.append(
        {
            "training": "all",
            "quantity": "balance",
            "value": evenness,
            "unit": "1",
            "meaning": "tokens of the busiest device over the mean (M4)",
        }
    )
    return rows


@dataclass(frozen=True)
class Plan:
    """A vertical's plan: its trainings, the devices, how to compute them, and all as rows."""

    jobs: list[Job]
    devices: Devices
    choices: list[Choice]
    configured: list[Memory]
    rows: list[dict[str, Any]]

    @property
    def fits(self) -> bool:
        """Every training as configured stays under 80 % of a device's memory (SPEC T1)."""
        return all(memory.peak <= self.devices.usable for memory in self.configured)

    @property
    def remedy(self) -> str:
        """What to change where it doesn't fit."""
        if all(choice.fits for choice in self.choices):
            lines = yaml_of(self.jobs, self.choices).split("\n")
            return "take over: " + "; ".join(lines).replace(":;", ":")
        return "even the smallest way needs more: a smaller model, or devices with more memory"


def plan(spec: VerticalSpec, base: Path, texts: list[str], devices: Devices) -> Plan:
    """The plan of a vertical; no weight is loaded, the corpus is tokenized once.

    Args:
        spec: sections `model`, `pretrain`, `finetune`, `processes`, `split`, `task`.
        base: Hugging Face directory of the base model.
        texts: the corpus.
        devices: what there is to train on.

    Raises:
        ValueError: the base model is no encoder of BERT's shape.
    """
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(base)
    inputs = tokenized(texts, AutoTokenizer.from_pretrained(base), spec)
    if devices.kind == "cpu":  # its processes share the machine's memory
        devices = replace(devices, memory=devices.memory // spec.processes.devices)
    processes, labeled = spec.processes, 1 - spec.split.test - spec.split.validation
    finetuned = network_of(config, "classes", max(1, len(spec.labels)), spec.finetune.freeze_layers)
    if not spec.model.is_plain(spec.task.kind):  # modules may read every token's state
        finetuned = replace(finetuned, first_token=False)
    jobs = jobs_of(
        spec,
        network_of(config, "tokens", config.vocab_size, spec.pretrain.freeze_layers),
        finetuned,
        inputs.lengths,
        round(labeled * len(texts)),
    )
    batch, packed = spec.pretrain.batch_tokens, spec.pretrain.packing
    line = Steps(inputs.lengths, batch, spec.seed, 1.0, packed=packed)
    evenness = balance(line, max(devices.count, processes.count))
    return Plan(
        jobs=jobs,
        devices=devices,
        choices=choose(jobs, devices, processes),
        configured=[memory_as_configured(job, processes, devices) for job in jobs],
        rows=rows_of(jobs, devices, processes, evenness),
    )


def predicted_and_measured(
    network: Network, used: dict[str, Any], mask: float, packed_length: float | None = None
) -> dict[str, Any]:
    """What the formulas say of the measured step beside what it took; empty where none was.

    Args:
        network: of the model that was trained.
        used: see `monitor.usage`.
        mask: share of masked tokens.
        packed_length: mean tokens of the texts, where they lie end to end in one row.
    """
    if not used.get("measured_rows"):
        return {}
    if not used["measured_with_dropout"]:
        network = without_dropout(network)
    rows, width = used["measured_rows"], used["measured_width"]
    if packed_length is not None:
        rows, width = max(1, round(width / packed_length)), round(packed_length)
    predicted = round(mask * rows * width) if network.head == "tokens" else rows
    way = Way(
        half=used["measured_half"],
        cuda=used["measured_cuda"],
        checkpointing=used["measured_checkpointing"],
    )
    shape = Shape(rows, width, predicted)
    memory, flops = step_memory(network, shape, way).peak, step_flops(network, shape, way)
    return {
        "step": f"{rows} x {width} tokens",
        "predicted_bytes": memory,
        "measured_bytes": used["measured_bytes"],
        "bytes_ratio": round(memory / used["measured_bytes"], 4),
        "predicted_flops": flops,
        "measured_flops": used["measured_flops"],
        "flops_ratio": round(flops / max(1, used["measured_flops"]), 4),
    }
