"""Causal language modelling: every token from those before it, in packed rows (SPEC T5).

Rows have one fixed length and hold several texts. Each text's positions start at zero; transformers
tells from them where a text begins and lets no token attend to another text, so that a packed row
has the losses of its texts one by one.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from vertical_assets.spec import Finetune, Pretrain, VerticalSpec
from vertical_assets.training.loop.batches import Steps
from vertical_assets.training.loop.logs import Watch
from vertical_assets.training.loop.loop import Plan, TrainingModule, train
from vertical_assets.training.loop.schedules import initial_rate
from vertical_assets.training.pretraining import Pretrained

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

IGNORED = -100  # label of a token that is not learnt: cross_entropy's default

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # ids, positions, labels


@dataclass(frozen=True)
class Sequences:
    """Token ids of texts, and their labels: the same ids, IGNORED where nothing is learnt."""

    ids: list[list[int]]
    labels: list[list[int]]

    @property
    def lengths(self) -> list[int]:
        return list(map(len, self.ids))


class Packed:
    """Sequences in rows of `width` tokens."""

    def __init__(self, sequences: Sequences, width: int, pad_id: int) -> None:
        self.sequences, self.width, self.pad_id = sequences, width, pad_id
        self.rows = pack(sequences.lengths, width)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of every row, for `Steps`."""
        return np.full(len(self.rows), self.width)

    def batch(self, rows: Sequence[int] | np.ndarray) -> Batch:
        """(ids, positions, labels), rows x width; what is left of a row is padding, and a text of
        its own.
        """
        shape = (len(rows), self.width)
        ids = torch.full(shape, self.pad_id, dtype=torch.long)
        labels = torch.full(shape, IGNORED, dtype=torch.long)
        positions = torch.zeros(shape, dtype=torch.long)
        for place, row in enumerate(rows):
            start = 0
            for number in self.rows[row]:
                end = start + len(self.sequences.ids[number])
                ids[place, start:end] = torch.tensor(self.sequences.ids[number])
                labels[place, start:end] = torch.tensor(self.sequences.labels[number])
                labels[place, start] = IGNORED  # no text stands before it
                positions[place, start:end] = torch.arange(end - start)
                start = end
            positions[place, start:] = torch.arange(self.width - start)
        return ids, positions, labels

    def steps(self, settings: Pretrain | Finetune, spec: VerticalSpec) -> Steps:
        """The line of steps of a training on these rows."""
        return Steps(
            self.lengths,
            settings.batch_tokens,
            spec.seed,
            settings.epochs,
            per_step=spec.processes.batches_per_step,
        )

    def batches(self, budget: int) -> list[Batch]:
        """All rows in order, `budget` tokens at a time."""
        size = max(1, budget // self.width)
        numbers = range(len(self.rows))
        return [self.batch(numbers[start : start + size]) for start in numbers[::size]]


def pack(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Numbers of the sequences in each row: best fit, longest first (Ding et al. 2024,
    arXiv:2404.10830), so that none is cut and little is left empty.

    Raises:
        ValueError: a sequence is longer than a row.
    """
    rows: list[list[int]] = []
    by_space: dict[int, list[int]] = {}  # free tokens -> rows
    spaces: list[int] = []  # sorted keys of by_space
    for number in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        length = lengths[number]
        if length > width:
            raise ValueError(f"a sequence of {length} tokens does not fit into rows of {width}")
        place = bisect_left(spaces, length)
        if place == len(spaces):
            rows.append([number])
            row, left = len(rows) - 1, width - length
        else:
            space = spaces[place]
            row, left = by_space[space].pop(), space - length
            rows[row].append(number)
            if not by_space[space]:
                del by_space[space], spaces[place]
        if left not in by_space:
            by_space[left] = []
            insort(spaces, left)
        by_space[left].append(row)
    return rows


class CausalModule(TrainingModule):
    """Cross-entropy of every labelled token, from those before it in its text."""

    def __init__(
        self, model: "PreTrainedModel", plan: Plan, total_steps: int, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(model, plan, total_steps)
        self.label_smoothing = label_smoothing

    def loss(
        self, ids: torch.Tensor, positions: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, int]:
        """(mean cross-entropy over the labelled tokens, their number) of a packed batch; labels are
        smoothed in training only.
        """
        # With a cache, transformers would take the row for one text.
        logits = self.model(input_ids=ids, position_ids=positions, use_cache=False).logits
        wanted = labels[:, 1:]
        chosen = wanted != IGNORED
        total = cross_entropy(
            logits[:, :-1][chosen].float(),
            wanted[chosen],
            reduction="sum",
            label_smoothing=self.label_smoothing if self.training else 0.0,
        )
        count = int(chosen.sum())
        return total / max(1, count), count

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.loss(*batch)[0]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        loss, count = self.loss(*batch)
        self.log("val_loss", loss, batch_size=max(1, count))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices decay, norms and biases don't; nothing of a decoder is new in fine-tuning."""
        trained = [p for p in self.parameters() if p.requires_grad]
        groups = [
            ([p for p in trained if p.ndim >= 2], self.plan.settings.weight_decay),
            ([p for p in trained if p.ndim < 2], 0.0),
        ]
        return [
            {"params": parameters, "lr": self.plan.rate.value, "weight_decay": decay, "l1": 0.0}
            for parameters, decay in groups
            if parameters
        ]


def plan_of(
    settings: Pretrain | Finetune,
    records: int,
    layers: int,
    seed: int,
    validations: int,
    patience: int | None = None,
) -> Plan:
    """How a decoder is trained: the weights of the lowest validation loss are kept."""
    return Plan(
        settings,
        initial_rate(settings.learning_rate, records, layers),
        seed=seed,
        monitor="val_loss",
        mode="min",
        patience=patience,
        validations=validations,
    )


def pretrain_decoder(
    base: Path, texts: list[str], spec: VerticalSpec, work: Path, watch: Watch | None = None
) -> Pretrained:
    """Trains the decoder on the texts.

    Args:
        base: Hugging Face directory.
        texts: the corpus; the share `pretrain.held_out`, every n-th text, only measures the loss.
        spec: sections `pretrain`, `model`, `processes`, `seed`.
        work: folder of this run; a checkpoint found there is resumed.
        watch: who is told while it runs.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    settings, width = spec.pretrain, spec.model.max_tokens
    tokenizer = AutoTokenizer.from_pretrained(base)
    # Published weights are often half ones; a small step would be lost in them.
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    every = max(2, round(1 / settings.held_out)) if settings.held_out else len(texts) + 1
    held, trained = (
        Packed(sequences_of(chosen, tokenizer, width), width, tokenizer.pad_token_id)
        for chosen in (texts[::every], [t for n, t in enumerate(texts) if n % every])
    )
    plan = plan_of(settings, len(texts), model.config.num_hidden_layers, spec.seed, validations=3)
    steps = trained.steps(settings, spec)
    module = CausalModule(model, plan, len(steps))
    validation = held.batches(settings.batch_tokens)
    before = mean_loss(module, validation)
    log = train(module, steps, trained.batch, validation, work, watch or Watch(), spec.processes)
    after = mean_loss(module, validation)
    tokens = sum(trained.sequences.lengths)
    return Pretrained(
        model=model,
        tokenizer=tokenizer,
        loss_before=before,
        loss_after=after,
        log=log,
        facts={
            "texts": len(texts),
            "tokens": tokens,
            "filled": tokens / max(1, len(trained.rows) * width),
            "perplexity_before": math.exp(before),
            "perplexity_after": math.exp(after),
            "steps": len(steps),
            "resumed_from_step": steps.start,
            "parameters": model.num_parameters(),
            **plan.facts(len(steps)),
        },
    )


def sequences_of(
    texts: Sequence[str], tokenizer: "PreTrainedTokenizerFast", width: int
) -> Sequences:
    """Texts with their end behind them, all tokens to be learnt; longer ones in pieces."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    end = tokenizer.eos_token_id
    ids: list[list[int]] = []
    for encoding in backend.encode_batch_fast(list(texts)):
        tokens = encoding.ids if encoding.ids[-1:] == [end] else [*encoding.ids, end]
        ids += pieces(tokens, width)
    return Sequences(ids, [list(tokens) for tokens in ids])


def pieces(tokens: list[int], width: int) -> Iterator[list[int]]:
    """A text's tokens, `width` at a time; a last piece of one token has nothing to predict."""
    for start in range(0, len(tokens), width):
        piece = tokens[start : start + width]
        if len(piece) > 1:
            yield piece


@torch.no_grad()
def mean_loss(module: CausalModule, batches: list[Batch]) -> float:
    """Mean loss over all labelled tokens of the batches, in nats; its exponential is the
    perplexity. 0 where there are none.
    """
    module.eval()
    total, count = 0.0, 0
    for batch in batches:
        loss, tokens = module.loss(*batch)
        total, count = total + float(loss) * tokens, count + tokens
    return total / max(1, count)
