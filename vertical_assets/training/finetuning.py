"""Fine-tuning of the modules of any kind of task on the labelled set (SPEC M5-M10, T6-T9)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from vertical_assets.batching import in_order
from vertical_assets.inference.answers import answers_of
from vertical_assets.inference.chain import Chain
from vertical_assets.labels.splits import Items
from vertical_assets.spec import VerticalSpec
from vertical_assets.training import classification
from vertical_assets.training.adaptation.first_token import first_token_only
from vertical_assets.training.classification import (
    Finetuned,
    check_splits,
    class_weights,
    plan_of,
)
from vertical_assets.training.loop.batches import Steps
from vertical_assets.training.loop.logs import Watch
from vertical_assets.training.loop.loop import Plan, TrainingModule, freeze, set_dropout, train
from vertical_assets.training.modules.data import (
    Inputs,
    LabelledInputs,
    VectorSource,
    codes_of,
    hot_of,
    inputs_of,
    labelled,
)
from vertical_assets.training.modules.heads import LossSettings, ValueHead
from vertical_assets.training.modules.model import (
    VerticalModel,
    VerticalOutput,
    is_vertical,
    on_base,
)
from vertical_assets.training.modules.scores import MONITOR, scores


class TaskModule(TrainingModule):
    """A VerticalModel with its head's loss; validation decodes whole items over their windows.

    Args:
        model: the model.
        settings: of the loss.
        held: the validation set.
        gold: its targets.
        plan: see TrainingModule.
        total_steps: see TrainingModule.
    """

    model: VerticalModel

    def __init__(
        self,
        model: VerticalModel,
        settings: LossSettings,
        held: LabelledInputs,
        gold: list[Any],
        plan: Plan,
        total_steps: int,
    ) -> None:
        super().__init__(model, plan, total_steps)
        self.smoothing, self.held, self.gold = settings.label_smoothing, held, gold
        self.register_buffer("weights", settings.weights, persistent=False)
        self.found: dict[int, np.ndarray] = {}
        self.chain: Chain | None = None

    def forward(self, batch: Mapping[str, Any]) -> VerticalOutput:
        """Output of a batch by the names of VerticalModel's arguments."""
        return self.model(**model_inputs(batch))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        settings = LossSettings(self.smoothing, self.weights)
        return self.model.head.loss(self(batch).logits, batch, settings)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        logits = self(batch).logits
        loss = self.model.head.loss(logits, batch, LossSettings())
        self.log("val_loss", loss, batch_size=len(batch["rows"]))
        self.found |= unpadded(logits, batch)
        self.chain = self.model.chain  # here, where divided weights are whole

    def on_validation_epoch_end(self) -> None:
        config, windows = self.model.config, self.held.inputs.windows
        logits = [self.found[row] for row in range(len(windows.windows))]
        self.found = {}
        answers = answers_of(
            config.kind,
            config.labels or [],
            logits,
            windows,
            len(self.gold),
            self.chain,
        )
        self.log_dict(scores(config.kind, self.gold, answers, config.labels or []))


def model_inputs(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of VerticalModel in a batch."""
    names = ("input_ids", "attention_mask", "token_type_ids", "features")
    return {name: batch[name] for name in names}


def unpadded(logits: torch.Tensor, batch: Mapping[str, Any]) -> dict[int, np.ndarray]:
    """Row number -> its logits, without what padding gave."""
    values, rows = logits.detach().float().cpu().numpy(), batch["rows"].tolist()
    if values.ndim < 3:
        return dict(zip(rows, values, strict=True))
    lengths = (batch["attention_mask"] > 0).sum(1).tolist()
    return {row: v[:length] for row, v, length in zip(rows, values, lengths, strict=True)}


def finetune(
    base: Path,
    train_set: Items,
    validation_set: Items,
    spec: VerticalSpec,
    work: Path,
    watch: Watch | None = None,
    sources: Mapping[str, VectorSource] | None = None,
    whole: Sequence[Any] | None = None,
    more: Sequence[Callback] = (),
) -> Finetuned:
    """Trains the modules that the YAML names and the encoder under them; keeps the weights of the
    best validation score of the task's kind (`scores.MONITOR`).

    A classification without further modules is transformers' own sequence classifier.

    Args:
        base: Hugging Face directory of the adapted base model, or of a checkpoint of this
            vertical, from whose weights training goes on.
        train_set: what is learnt from.
        validation_set: decides which weights are kept and when to stop (M13).
        spec: sections `finetune`, `model`, `processes`, `task`, `seed`.
        work: folder of this run; a checkpoint found there is resumed.
        watch: who is told while it runs.
        sources: feature -> its vectors, for the modules that read one.
        whole: targets of the whole training split, where `train_set` is a part of it; for the
            class weights.
        more: further callbacks.

    Raises:
        ModuleError: a module's options are wrong, or a feature that it reads is not given.
        UntrainableError: a split has no item, or `finetune` asks for what the encoder has not.
    """
    from transformers import AutoTokenizer

    kind, settings, labels = spec.task.kind, spec.finetune, spec.labels
    if spec.model.is_plain(kind):
        return classification.finetune(
            base, train_set, validation_set, spec, work, watch, more, whole
        )
    check_splits(train_set, validation_set)
    tokenizer = AutoTokenizer.from_pretrained(base)
    sources = sources or {}
    torch.manual_seed(spec.seed)  # modules and head start from random weights
    is_warm = is_vertical(base)
    model = (
        VerticalModel.from_pretrained(base)
        if is_warm
        else on_base(base, spec, widths_of(sources, train_set.texts))
    )
    freeze(model, settings.freeze_layers)
    for part in (model.encoder, model):  # each keeps the share in its own configuration
        set_dropout(part, settings.dropout)
    learned, held = (
        labelled(
            kind,
            labels,
            each.labels,
            inputs_of(
                kind, each.texts, each.questions, tokenizer.backend_tokenizer, model.config, sources
            ),
        )
        for each in (train_set, validation_set)
    )
    if isinstance(model.head, ValueHead) and not is_warm:
        model.head.fit(torch.from_numpy(learned.per_row["values"]))
    windows = learned.inputs.windows
    steps = Steps(
        windows.lengths,
        settings.batch_tokens,
        spec.seed,
        settings.epochs,
        np.unique(train_set.groups, return_inverse=True)[1][windows.items],
        settings.per_group,
        per_step=spec.processes.batches_per_step,
    )
    layers = model.encoder.config.num_hidden_layers
    plan = plan_of(spec, len(windows.windows), layers, *MONITOR[kind])
    module = TaskModule(
        model,
        LossSettings(settings.label_smoothing, label_weights(learned, labels, spec, whole)),
        held,
        validation_set.labels,
        plan,
        len(steps),
    )
    budget = classification.VALIDATION_FACTOR * settings.batch_tokens
    validation = [held.batch(rows) for rows in in_order(held.inputs.windows.lengths, budget)]
    with first_token_only(model):
        log = train(
            module,
            steps,
            learned.batch,
            validation,
            work,
            watch or Watch(),
            spec.processes,
            more,
        )
    shares = fusion_weights(model, held.inputs, budget)
    return Finetuned(
        model=model,
        tokenizer=tokenizer,
        log=log,
        facts={
            "texts": len(train_set.texts),
            "windows": len(windows.windows),
            "tokens_per_epoch": int(windows.lengths.sum()),
            "steps": len(steps),
            "resumed_from_step": steps.start,
            "parameters": model.num_parameters(),
            "trained_parameters": model.num_parameters(only_trainable=True),
            **plan.facts(len(steps)),
            "modules": ", ".join(model.branches),
            **learned.counts,
            **{f"fusion_weight_{name}": share for name, share in shares.items()},
        },
    )


def widths_of(sources: Mapping[str, VectorSource], texts: list[str]) -> dict[str, int]:
    """Width of each feature's vectors."""
    return {name: int(each.transform(texts[:1]).shape[1]) for name, each in sources.items()}


def label_weights(
    learned: LabelledInputs,
    labels: tuple[str, ...],
    spec: VerticalSpec,
    whole: Sequence[Any] | None = None,
) -> torch.Tensor | None:
    """Weights by inverse frequency (SPEC E1): of classes (see `class_weights`); of the items that
    have a label against those that have not, where there may be several. None for other kinds.
    `whole` are the targets of the whole training split, where a part of it is learnt.
    """
    how = spec.finetune.class_weights
    if "codes" in learned.per_row:
        known = None if whole is None else codes_of(whole, labels)
        return class_weights(learned.per_row["codes"], len(labels), how, known)
    if "hot" not in learned.per_row or how == "none":
        return None
    ratio = odds_against(learned.per_row["hot"])
    if how == "sqrt":
        known_ratio = ratio if whole is None else odds_against(hot_of(whole, labels))
        ratio = ratio * known_ratio**-0.5
    return torch.from_numpy(ratio.astype(np.float32))


def odds_against(hot: np.ndarray) -> np.ndarray:
    """Items without a label per item with it, for each label; 1 where all or none have it."""
    having = hot.sum(0)
    lacking = len(hot) - having
    return np.where((having > 0) & (lacking > 0), lacking / np.maximum(having, 1), 1.0)


@torch.inference_mode()
def fusion_weights(model: VerticalModel, inputs: Inputs, budget: int) -> dict[str, float]:
    """Mean weight of each module over the items; nothing where modules are not fused (SPEC M7)."""
    if model.fusion is None:
        return {}
    model.eval()
    found = [
        model.to("cpu")(**model_inputs(inputs.batch(rows))).fusion_weights
        for rows in in_order(inputs.windows.lengths, budget)
    ]
    means = torch.cat(found).mean(0).tolist()
    return dict(zip(model.branches, means, strict=True))
