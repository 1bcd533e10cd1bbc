"""Masked-language-model training on the domain's corpus, from the base model (SPEC T5)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from vertical_assets.batching import in_order
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.tokenizing import tokenized
from vertical_assets.training.loop.batches import Steps
from vertical_assets.training.loop.logs import Watch
from vertical_assets.training.loop.loop import Plan, TrainingModule, freeze, set_dropout, train
from vertical_assets.training.loop.packing import allow_packing, blocks_of, first_position
from vertical_assets.training.loop.schedules import initial_rate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class MaskedLanguageModule(TrainingModule):
    """Predicts masked tokens; logits are computed at the masked positions only, since the
    vocabulary is the widest layer of a small model.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerFast",
        mask: float,
        plan: Plan,
        total_steps: int,
    ) -> None:
        from transformers import DataCollatorForLanguageModeling

        super().__init__(model, plan, total_steps)
        self.masking = DataCollatorForLanguageModeling(tokenizer, mlm_probability=mask)
        self.special = torch.tensor(sorted(set(tokenizer.all_special_ids)))

    def loss(
        self,
        ids: torch.Tensor,
        attention: torch.Tensor,
        positions: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, int]:
        """(mean cross-entropy at the masked positions, their number).

        Args:
            ids: rows x width; of packed documents 1 x tokens.
            attention: mask, rows x width; of packed documents the tokens of each.
            positions: of packed documents only, 1 x tokens.
        """
        special = torch.isin(ids, self.special.to(ids.device))
        masked, labels = self.masking.torch_mask_tokens(ids.clone(), special)
        return self.loss_of(masked, labels, attention, positions)

    def loss_of(
        self,
        masked: torch.Tensor,
        labels: torch.Tensor,
        attention: torch.Tensor,
        positions: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, int]:
        """`loss` of ids that are masked already; labels are -100 elsewhere."""
        if positions is None:
            where: dict[str, Any] = {"attention_mask": attention}
        else:
            first = first_position(self.model)
            where = {"position_ids": positions + first, "blocks": blocks_of(attention)}
        hidden = self.model.base_model(input_ids=masked, **where).last_hidden_state
        chosen = labels != -100
        head: Any = getattr(self.model, "cls", None) or self.model.lm_head
        logits = head(hidden[chosen])
        # A batch of very short texts may have no masked token; its loss is zero, not NaN.
        total = cross_entropy(logits.float(), labels[chosen], reduction="sum")
        count = int(chosen.sum())
        return total / max(1, count), count

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.loss(*batch)[0]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        torch.manual_seed(self.plan.seed + batch_idx)  # the same masks at every validation
        loss, count = self.loss(*batch)
        self.log("val_loss", loss, batch_size=max(1, count))


@dataclass(frozen=True)
class Pretrained:
    """An adapted model, its held-out loss before and after, and the run's log."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    loss_before: float
    loss_after: float
    log: list[dict[str, Any]]
    facts: dict[str, Any]


def pretrain(
    base: Path, texts: list[str], spec: VerticalSpec, work: Path, watch: Watch | None = None
) -> Pretrained:
    """Adapts the base model to the texts.

    Args:
        base: Hugging Face directory.
        texts: the corpus; the share `pretrain.held_out`, every n-th text, only measures the loss.
        spec: sections `pretrain`, `model`, `seed`.
        work: folder of this run; a checkpoint found there is resumed.
        watch: who is told while it runs.
    """
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    settings = spec.pretrain
    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(spec.seed)  # a base without a prediction head gets a new one
    # Published weights are often half ones; a small step would be lost in them.
    model = AutoModelForMaskedLM.from_pretrained(base, dtype=torch.float32)
    freeze(model, settings.freeze_layers)
    set_dropout(model, settings.dropout)
    if settings.packing:
        allow_packing(model)
    every = max(2, round(1 / settings.held_out)) if settings.held_out else len(texts) + 1
    held = tokenized(texts[::every], tokenizer, spec, work)
    trained = tokenized([t for n, t in enumerate(texts) if n % every], tokenizer, spec, work)
    steps = Steps(
        trained.lengths,
        settings.batch_tokens,
        spec.seed,
        settings.epochs,
        packed=settings.packing,
        per_step=spec.processes.batches_per_step,
    )
    layers = model.config.num_hidden_layers
    plan = Plan(
        settings,
        initial_rate(settings.learning_rate, len(trained.ids), layers),
        seed=spec.seed,
        monitor="val_loss",
        mode="min",
        validations=3,
    )
    module = MaskedLanguageModule(model, tokenizer, settings.mask, plan, len(steps))
    validation = [held.padded(rows) for rows in in_order(held.lengths, settings.batch_tokens)]
    before = mean_loss(module, validation)
    collate = trained.packed if settings.packing else trained.padded
    log = train(module, steps, collate, validation, work, watch or Watch(), spec.processes)
    return Pretrained(
        model=model,
        tokenizer=tokenizer,
        loss_before=before,
        loss_after=mean_loss(module, validation),
        log=log,
        facts={
            "texts": len(trained.ids),
            "tokens": int(trained.lengths.sum()),
            "steps": len(steps),
            "resumed_from_step": steps.start,
            "parameters": model.num_parameters(),
            **plan.facts(len(steps)),
        },
    )


@torch.no_grad()
def mean_loss(module: MaskedLanguageModule, batches: list[Any]) -> float:
    """Mean loss over all masked positions of the batches, with the masks of `validation_step`."""
    module.eval()
    total = count = 0.0
    for number, batch in enumerate(batches):
        torch.manual_seed(module.plan.seed + number)
        loss, masked = module.loss(*batch)
        total, count = total + float(loss) * masked, count + masked
    return total / max(1.0, count)
