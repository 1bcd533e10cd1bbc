"""Distillation: a model with fewer layers learns from the one it was cut out of (SPEC M2).

Loss = alpha_hidden x hidden + alpha_output x output:

- hidden: after each kept layer, the squared difference to the states that the teacher has behind
  the last layer that this one stands for (itself and those cut after it), over the squared states:
  0 where they are equal, whatever their size (Jiao et al. 2020, TinyBERT, eq. 8, made relative).
- output, where the base has a prediction head: divergence of the token probabilities at masked
  positions from the teacher's, both at a temperature T, times T^2 (Hinton et al. 2015; Sanh et al.
  2019, DistilBERT). Elsewhere: 1 - cosine of the mean-pooled sentence embeddings.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cosine_similarity, kl_div

from vertical_assets.batching import in_order
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.training import Distill
from vertical_assets.training.adaptation.tokenizing import tokenized
from vertical_assets.training.loop.batches import Steps
from vertical_assets.training.loop.checkpoints import open_base
from vertical_assets.training.loop.logs import Watch
from vertical_assets.training.loop.loop import Plan, TrainingModule, freeze, set_dropout, train
from vertical_assets.training.loop.schedules import initial_rate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

RESULT = "distilled.json"


@dataclass(frozen=True)
class Losses:
    """Distillation loss on held-out texts, and its parts."""

    total: float
    hidden: float
    output: float


@dataclass(frozen=True)
class Distilled:
    """A student's checkpoint, its held-out losses before and after, and the run's log."""

    path: Path
    before: Losses
    after: Losses
    log: list[dict[str, Any]]

    @property
    def losses(self) -> dict[str, Any]:
        """Held-out losses by name: `distillation_[hidden_|output_]loss_before | _after`."""
        return {
            f"distillation_{part}loss_{when}": getattr(losses, name)
            for when, losses in (("before", self.before), ("after", self.after))
            for name, part in (("total", ""), ("hidden", "hidden_"), ("output", "output_"))
        }


def taught_by(layers: Sequence[int], whole: int) -> list[int]:
    """For each kept layer, the teacher's layer whose states it learns: the last one before the
    next kept layer, and for the last kept layer the last of all.

    >>> taught_by([0, 2, 4], whole=6)
    [1, 3, 5]
    """
    return [following - 1 for following in (*layers[1:], whole)]


class DistillationModule(TrainingModule):
    """The student; the teacher stands beside it, neither trained nor saved."""

    def __init__(
        self,
        student: "PreTrainedModel",
        teacher: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerFast",
        layers: Sequence[int],
        settings: Distill,
        mask: float,
        plan: Plan,
        total_steps: int,
    ) -> None:
        from transformers import DataCollatorForLanguageModeling

        super().__init__(student, plan, total_steps)
        self.settings = settings
        self.teachers = (teacher.eval().requires_grad_(False),)  # in a tuple: no part of the state
        self.taught_by = taught_by(layers, teacher.config.num_hidden_layers)
        self.with_head = student.get_output_embeddings() is not None
        self.masking = DataCollatorForLanguageModeling(tokenizer, mlm_probability=mask)
        self.special = torch.tensor(sorted(set(tokenizer.all_special_ids)))

    def losses(
        self, ids: torch.Tensor, attention: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(total, hidden, output) losses of rows x width ids."""
        teacher = self.teachers[0].to(ids.device)
        chosen = None
        if self.with_head:
            special = torch.isin(ids, self.special.to(ids.device))
            ids, labels = self.masking.torch_mask_tokens(ids.clone(), special)
            chosen = labels != -100
        with torch.no_grad():
            shown = _states(teacher, ids, attention)
        learnt = _states(self.model, ids, attention)
        real = attention.bool()
        hidden = torch.stack(
            [
                _relative_error(learnt[place + 1][real], shown[layer + 1][real])
                for place, layer in enumerate(self.taught_by)
            ]
        ).mean()
        if chosen is None:
            output = (
                1
                - cosine_similarity(
                    _embedding(learnt[-1], real), _embedding(shown[-1], real), dim=-1
                ).mean()
            )
        else:
            with torch.no_grad():
                wanted = _log_probabilities(teacher, shown[-1][chosen], self.settings.temperature)
            found = _log_probabilities(self.model, learnt[-1][chosen], self.settings.temperature)
            # A batch of very short texts may have no masked token; its loss is zero, not NaN.
            divergence = kl_div(found, wanted, reduction="sum", log_target=True)
            output = divergence / max(1, int(chosen.sum())) * self.settings.temperature**2
        total = self.settings.alpha_hidden * hidden + self.settings.alpha_output * output
        return total, hidden, output

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.losses(*batch)[0]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(self.plan.seed + batch_idx)  # the same masks at every validation
        for name, loss in zip(("", "hidden_", "output_"), self.losses(*batch), strict=True):
            self.log(f"val_{name}loss", loss, batch_size=len(batch[0]))

    @torch.no_grad()
    def held_out(self, batches: Sequence[Any]) -> Losses:
        """Mean losses over batches, weighted by their rows, with the masks of validation."""
        self.eval()
        total = torch.zeros(3)
        rows = 0
        for number, batch in enumerate(batches):
            torch.manual_seed(self.plan.seed + number)
            total += torch.stack(self.losses(*batch)).float().cpu() * len(batch[0])
            rows += len(batch[0])
        return Losses(*(total / max(1, rows)).tolist())


def distill(
    teacher: Path,
    student: Path,
    texts: Sequence[str],
    spec: VerticalSpec,
    work: Path,
    watch: Watch | None = None,
) -> Distilled:
    """Trains the student on the texts until it answers as the teacher does.

    Args:
        teacher: checkpoint with all layers.
        student: the same, cut to `model.layers`.
        texts: the corpus; the share `pretrain.held_out`, every n-th text, only measures the loss.
        spec: sections `model`, `pretrain` (`held_out`, `mask`), `seed`.
        work: folder of this run; a checkpoint found there is resumed, and a run that was finished
            there is not trained again.
        watch: who is told while it runs.
    """
    settings, layers = spec.model.distill, spec.model.layers
    if settings is None or layers is None:
        raise ValueError("distillation needs model.distill and model.layers")
    path = work / "distilled"
    if (path / RESULT).exists():
        return _finished(path)
    model, tokenizer = open_base(student)
    share = spec.pretrain.held_out
    every = max(2, round(1 / share)) if share else len(texts) + 1
    held = tokenized(list(texts[::every]), tokenizer, spec, work)
    trained = tokenized([t for n, t in enumerate(texts) if n % every], tokenizer, spec, work)
    steps = Steps(trained.lengths, settings.batch_tokens, spec.seed, settings.epochs)
    plan = Plan(
        settings,
        initial_rate(settings.learning_rate, len(trained.ids), model.config.num_hidden_layers),
        seed=spec.seed,
        monitor="val_loss",
        mode="min",
        validations=3,
    )
    freeze(model, settings.freeze_layers)
    set_dropout(model, settings.dropout)
    module = DistillationModule(
        model,
        open_base(teacher)[0],
        tokenizer,
        layers,
        settings,
        spec.pretrain.mask,
        plan,
        len(steps),
    )
    validation = [held.padded(rows) for rows in in_order(held.lengths, settings.batch_tokens)]
    before = module.held_out(validation)
    log = train(module, steps, trained.padded, validation, work, watch or Watch())
    after = module.held_out(validation)
    partial = path.with_name(".distilled")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    described = {"before": asdict(before), "after": asdict(after), "log": log}
    (partial / RESULT).write_text(json.dumps(described))
    partial.replace(path)
    return _finished(path)


def _finished(path: Path) -> Distilled:
    told = json.loads((path / RESULT).read_text())
    return Distilled(path, Losses(**told["before"]), Losses(**told["after"]), told["log"])


def _states(
    model: "PreTrainedModel", ids: torch.Tensor, attention: torch.Tensor
) -> Sequence[torch.Tensor]:
    """Hidden states behind the embeddings and behind each layer, rows x width x units."""
    states: Sequence[torch.Tensor] = model.base_model(
        input_ids=ids, attention_mask=attention, output_hidden_states=True
    ).hidden_states
    return states


def _relative_error(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    found, wanted = found.float(), wanted.float()
    return (found - wanted).square().sum() / wanted.square().sum()


def _embedding(states: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean over the tokens that are no padding, rows x units."""
    weights = real[..., None].float()
    return (states.float() * weights).sum(1) / weights.sum(1)


def _log_probabilities(
    model: "PreTrainedModel", states: torch.Tensor, temperature: float
) -> torch.Tensor:
    head: Any = getattr(model, "cls", None) or model.lm_head
    return torch.log_softmax(head(states).float() / temperature, dim=-1)
