"""How a vertical's trainings are computed on the devices that are there (SPEC M4, T1)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import psutil
import torch

from vertical_assets.spec import Processes
from vertical_assets.training.loop.loop import computes_in_bf16
from vertical_assets.training.loop.monitor import MOST_MEMORY
from vertical_assets.training.planning.costs import Memory, step_memory
from vertical_assets.training.planning.layers import Shape, Way
from vertical_assets.training.planning.networks import Network

LEAST_TOKENS = 256  # a batch is not divided below this: small batches leave a device idle


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
    predicted: float  # positions predicted, per token or per row, as the network does
    steps: int
    tokens: int  # of all steps
    per_sample: bool = False
    plain: bool = False  # one process, which neither adds up batches nor computes layers twice
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
        return self.network.predicts == "tokens"


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
    plain = any(job.plain for job in jobs)
    count = 1 if plain else max(1, min(devices.count, min(steps) // LEAST_TOKENS))
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
