"""The resource plan: what a vertical's trainings cost, and how to fit them to the devices that are
there (SPEC M4, T1). It proposes; the YAML decides, so that the same YAML gives the same model on
every machine. Memory is what PyTorch allocates; libraries and the corpus come on top.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vertical_assets.inference.windows import windows_of
from vertical_assets.spec import Processes, VerticalSpec
from vertical_assets.training.adaptation.tokenizing import tokenized
from vertical_assets.training.generation.causal import pack, sequences_of
from vertical_assets.training.loop.batches import Steps
from vertical_assets.training.modules.data import WINDOWED
from vertical_assets.training.planning.choices import (
    Choice,
    Devices,
    Job,
    choose,
    memory_as_configured,
    yaml_of,
)
from vertical_assets.training.planning.costs import Memory, six_n_d, step_flops
from vertical_assets.training.planning.layers import FLOAT, Way
from vertical_assets.training.planning.networks import (
    Network,
    UnknownShapeError,
    decoder_of,
    networks_of,
)

WINDOWED_SAMPLE = 1000  # texts that tell how many windows a text becomes


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


@dataclass(frozen=True)
class Rows:
    """What a training reads in an epoch: so many rows, the longest and the mean one in tokens."""

    count: float
    width: int
    mean: float

    @property
    def tokens(self) -> float:
        return self.count * self.mean


def lengths_of(spec: VerticalSpec, texts: list[str], tokenizer: Any) -> np.ndarray:
    """Tokens of each row of pretraining: of a text, cut to `model.max_tokens`; of a decoder's row,
    which several texts fill.
    """
    if spec.model.architecture != "gpt":
        return tokenized(texts, tokenizer, spec).lengths
    width = spec.model.max_tokens
    return np.full(len(pack(sequences_of(texts, tokenizer, width).lengths, width)), width)


def labelled_rows(
    spec: VerticalSpec, texts: list[str], tokenizer: Any, lengths: np.ndarray
) -> Rows:
    """Rows of fine-tuning where as many texts are labelled as can be in the training split; the
    labels, questions and prompts come later than this plan. Where long texts become several
    windows, a sample of them tells how many.
    """
    share = 1 - spec.split.test - spec.split.validation
    width = int(lengths.max(initial=1))
    if spec.task.kind not in WINDOWED:
        return Rows(share * len(lengths), width, float(lengths.mean()))
    sample = texts[:: -(-len(texts) // WINDOWED_SAMPLE)]
    windows = windows_of(
        sample, tokenizer.backend_tokenizer, 0, spec.model.max_tokens, spec.model.overlap
    ).lengths
    each = len(windows) / len(sample)
    return Rows(share * len(texts) * each, width, float(windows.mean()))


def jobs_of(
    spec: VerticalSpec, pretrained: Network, finetuned: Network, read: Rows, labelled: Rows
) -> list[Job]:
    """Both trainings of a vertical.

    Args:
        spec: sections `pretrain`, `finetune`, `processes`, `model`.
        pretrained: the network that predicts tokens.
        finetuned: the network that answers.
        read: rows of pretraining.
        labelled: rows of fine-tuning.
    """
    private = spec.finetune.privacy is not None
    # A decoder learns each token of the corpus, and of a pair no more than all.
    mask = 1.0 if spec.model.architecture == "gpt" else spec.pretrain.mask
    trainings: tuple[tuple[Literal["pretrain", "finetune"], Any, Network, Rows, float], ...] = (
        ("pretrain", spec.pretrain, pretrained, read, mask),
        ("finetune", spec.finetune, finetuned, labelled, 1.0),
    )
    per_step = spec.processes.batches_per_step
    return [
        Job(
            name,
            network,
            settings.batch_tokens,
            rows.width,
            rows.mean,
            predicted,
            max(1, round(rows.tokens * settings.epochs / settings.batch_tokens / per_step)),
            int(rows.tokens * settings.epochs),
            per_sample=private and name == "finetune",
            plain=private,  # the section `processes` is for both trainings
            precision=settings.precision,
        )
        for name, settings, network, rows, predicted in trainings
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
        rows += _rows(job.name, figures)
    balanced = ("balance", evenness, "1", "tokens of the busiest device over the mean (M4)")
    return [*rows, *_rows("all", [balanced])]


def _rows(training: str, figures: Sequence[tuple[str, float, str, str]]) -> list[dict[str, Any]]:
    return [
        {"training": training, "quantity": q, "value": float(v), "unit": u, "meaning": m}
        for q, v, u, m in figures
    ]


@dataclass(frozen=True)
class Plan:
    """A vertical's plan: its trainings, the devices, how to compute them, and all as rows."""

    jobs: list[Job]
    devices: Devices
    choices: list[Choice]
    configured: list[Memory]
    rows: list[dict[str, Any]]
    unknown: str = ""  # why there are neither activations nor choices

    @property
    def fits(self) -> bool:
        """Every training as configured stays under 80 % of a device's memory (SPEC T1)."""
        return all(memory.peak <= self.devices.usable for memory in self.configured)

    @property
    def remedy(self) -> str:
        """What to change where it doesn't fit."""
        if self.choices and all(choice.fits for choice in self.choices):
            lines = yaml_of(self.jobs, self.choices).split("\n")
            return "take over: " + "; ".join(lines).replace(":;", ":")
        return "even the smallest way needs more: a smaller model, or devices with more memory"


def plan(spec: VerticalSpec, base: Path, texts: list[str], devices: Devices) -> Plan:
    """The plan of a vertical; no weight is loaded, the corpus is tokenized once. Of a decoder whose
    shape is not known, it says what its parameters tell.

    Args:
        spec: sections `model`, `pretrain`, `finetune`, `instruct`, `features`, `processes`,
            `split`, `task`.
        base: Hugging Face directory of the base model.
        texts: the corpus.
        devices: what there is to train on.

    Raises:
        ValueError: the base model is no encoder of BERT's shape.
    """
    from transformers import AutoConfig, AutoTokenizer

    config, tokenizer = AutoConfig.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    lengths = lengths_of(spec, texts, tokenizer)
    read = Rows(len(lengths), int(lengths.max(initial=1)), float(lengths.mean()))
    labelled = labelled_rows(spec, texts, tokenizer, lengths)
    processes = spec.processes
    if devices.kind == "cpu":  # its processes share the machine's memory
        devices = replace(devices, memory=devices.memory // processes.devices)
    try:
        networks = networks_of(config, spec)
    except UnknownShapeError as error:
        if spec.model.architecture != "gpt":
            raise
        return _of_parameters(spec, config, read, labelled, devices, str(error))
    jobs = jobs_of(spec, *networks, read, labelled)
    batch, packed = spec.pretrain.batch_tokens, spec.pretrain.packing
    line = Steps(lengths, batch, spec.seed, 1.0, packed=packed)
    evenness = balance(line, max(devices.count, processes.count))
    return Plan(
        jobs=jobs,
        devices=devices,
        choices=choose(jobs, devices, processes),
        configured=[memory_as_configured(job, processes, devices) for job in jobs],
        rows=rows_of(jobs, devices, processes, evenness),
    )


def _of_parameters(
    spec: VerticalSpec, config: Any, read: Rows, labelled: Rows, devices: Devices, unknown: str
) -> Plan:
    """What the number of a decoder's parameters tells: all but activations, and 6 N D."""
    rows: list[dict[str, Any]] = []
    configured = []
    for name, instruct, tokens in (
        ("pretrain", None, read.tokens * spec.pretrain.epochs),
        ("finetune", spec.instruct, labelled.tokens * spec.finetune.epochs),
    ):
        model = decoder_of(config, instruct)
        parameters, trained = (model.num_parameters(only_trainable=only) for only in (False, True))
        weights, gradients, states = (FLOAT * n for n in (parameters, trained, 2 * trained))
        sum_ = weights + gradients + states
        configured.append(Memory(weights, gradients, states, 0, sum_))
        rows += _rows(
            name,
            [
                ("parameters", parameters, "1", "weights of the network"),
                ("trained_parameters", trained, "1", "not frozen"),
                ("tokens", tokens, "1", "of all epochs"),
                ("flops_6nd", 6.0 * parameters * tokens, "1", "rule of thumb 6 N D"),
                ("weights", weights, "bytes", "on one device"),
                ("gradients", gradients, "bytes", "on one device"),
                ("optimizer", states, "bytes", "AdamW's states"),
                ("peak", sum_, "bytes", f"without activations: {unknown}"),
            ],
        )
    return Plan([], devices, [], configured, rows, unknown)
