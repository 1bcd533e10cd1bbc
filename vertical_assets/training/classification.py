"""Fine-tuning of a sequence classifier on the labelled set (SPEC T6-T9, M11-M13)."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch.nn.functional import cross_entropy
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from vertical_assets.batching import INFERENCE_TOKENS, in_order
from vertical_assets.labels.splits import TRAIN, VALIDATION, Items
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.first_token import first_token_only
from vertical_assets.training.adaptation.tokenizing import tokenized
from vertical_assets.training.embeddings import States
from vertical_assets.training.loop.batches import Steps
from vertical_assets.training.loop.logs import Watch
from vertical_assets.training.loop.loop import (
    Plan,
    TrainingModule,
    UntrainableError,
    freeze,
    set_dropout,
    train,
)
from vertical_assets.training.loop.privacy import Private, private_facts, private_training
from vertical_assets.training.loop.schedules import initial_rate
from vertical_assets.training.modules.data import codes_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

VALIDATION_FACTOR = 2  # tokens of a batch without gradients, as multiple of a training batch's


class ClassificationModule(TrainingModule):
    """A transformers classifier with label-smoothed, optionally class-weighted cross-entropy."""

    def __init__(
        self,
        model: "PreTrainedModel",
        weights: torch.Tensor | None,
        label_smoothing: float,
        plan: Plan,
        total_steps: int,
    ) -> None:
        super().__init__(model, plan, total_steps)
        self.label_smoothing = label_smoothing
        self.register_buffer("weights", weights, persistent=False)
        classes = model.config.num_labels
        self.accuracy = MulticlassAccuracy(classes, average="micro")
        self.f1 = MulticlassF1Score(classes, average="macro")

    def forward(self, ids: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
        """Logits, rows x classes, of rows x width token ids."""
        return self.model(input_ids=ids, attention_mask=attention).logits

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        ids, attention, labels = batch
        return cross_entropy(
            self(ids, attention), labels, self.weights, label_smoothing=self.label_smoothing
        )

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        ids, attention, labels = batch
        logits = self(ids, attention)
        self.log("val_loss", cross_entropy(logits, labels), batch_size=len(labels))
        self.accuracy(logits, labels)
        self.f1(logits, labels)
        self.log("val_accuracy", self.accuracy, on_epoch=True)
        self.log("val_f1_macro", self.f1, on_epoch=True)


@dataclass(frozen=True)
class Finetuned:
    """A classifier and the run's log."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    log: list[dict[str, Any]]
    facts: dict[str, Any]


def class_weights(
    labels: np.ndarray, classes: int, how: str, whole: np.ndarray | None = None
) -> torch.Tensor | None:
    """Weights inversely proportional to the class frequency (SPEC E1), or to its root; mean 1
    over the items. A class without items weighs 1 before that.

    Args:
        labels: numbers of the classes of what is learnt from.
        classes: how many there are.
        how: none | sqrt | balanced.
        whole: the same of the whole training split, where `labels` is a part of it: together, a
            class's items then weigh what they weigh there, whatever the part has of it.
    """
    if how == "none":
        return None
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    known = counts if whole is None else np.bincount(whole, minlength=classes).astype(np.float64)
    raw = np.where(known > 0, known.sum() / np.maximum(known, 1), 1.0)
    if how == "sqrt":
        raw = np.sqrt(raw)
    raw *= np.where(counts > 0, known / np.maximum(counts, 1), 1.0)
    return torch.tensor(raw * counts.sum() / (raw * counts).sum(), dtype=torch.float32)


def check_splits(train_set: Items, validation_set: Items) -> None:
    """Refuses a labelled set that has nothing to learn from, or nothing to judge by.

    Raises:
        UntrainableError: a split has no item.
    """
    for name, items in ((TRAIN, train_set), (VALIDATION, validation_set)):
        if not items.texts:
            raise UntrainableError(
                f"the labelled set has no item in its {name} split; label more documents, or "
                "change split.validation and split.test"
            )


def plan_of(
    spec: VerticalSpec,
    records: int,
    layers: int,
    monitor: str = "val_f1_macro",
    mode: str = "max",
) -> Plan:
    """How fine-tuning of a vertical goes, by its section `finetune`.

    Args:
        spec: sections `finetune`, `seed`.
        records: what is trained on, for the learning rate by scale (SPEC M11).
        layers: of the encoder, for the same.
        monitor: the validation score that decides which weights are kept.
        mode: whether more of it (max) or less (min) is better.
    """
    settings = spec.finetune
    return Plan(
        settings,
        initial_rate(settings.learning_rate, records, layers),
        seed=spec.seed,
        monitor=monitor,
        mode=mode,
        patience=settings.patience,
        validations=settings.epochs,
    )


def finetune(
    base: Path,
    train_set: Items,
    validation_set: Items,
    spec: VerticalSpec,
    work: Path,
    watch: Watch | None = None,
    more: Sequence[Callback] = (),
    whole: Sequence[str] | None = None,
) -> Finetuned:
    """Trains a classification head and the encoder under it; keeps the best validation macro F1.

    Args:
        base: Hugging Face directory of the adapted base model, or of a checkpoint of this
            vertical, from whose weights training goes on.
        train_set: what is learnt from.
        validation_set: decides which weights are kept and when to stop (M13).
        spec: sections `finetune`, `model`, `processes`, `task`, `seed`.
        work: folder of this run; a checkpoint found there is resumed.
        watch: who is told while it runs.
        more: further callbacks.
        whole: labels of the whole training split, where `train_set` is a part of it; for the
            class weights.

    Raises:
        UntrainableError: a split has no item, or `finetune` asks for what the encoder has not.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    check_splits(train_set, validation_set)
    settings, labels = spec.finetune, spec.labels
    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(spec.seed)  # the head starts from random weights
    model = AutoModelForSequenceClassification.from_pretrained(
        base,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: code for code, label in enumerate(labels)},
        problem_type="single_label_classification",
    )
    freeze(model, settings.freeze_layers)
    set_dropout(model, settings.dropout)
    inputs = tokenized(train_set.texts, tokenizer, spec, work)
    codes = codes_of(train_set.labels, labels)
    held = tokenized(validation_set.texts, tokenizer, spec, work)
    held_codes = codes_of(validation_set.labels, labels)
    private: Private | None = None
    if settings.privacy is not None:
        rows = settings.privacy.rows or max(1, settings.batch_tokens // spec.model.max_tokens)
        private = private_training(settings.privacy, inputs.lengths, rows, settings.epochs, work)
        # Half precision would round the norms that gradients are cut to.
        settings = settings.model_copy(update={"precision": "fp32"})
        spec = spec.model_copy(update={"finetune": settings})
    steps = (
        private.steps
        if private
        else Steps(
            inputs.lengths,
            settings.batch_tokens,
            spec.seed,
            settings.epochs,
            np.unique(train_set.groups, return_inverse=True)[1],
            settings.per_group,
            per_step=spec.processes.batches_per_step,
        )
    )
    plan = plan_of(spec, len(inputs.ids), model.config.num_hidden_layers)
    module = ClassificationModule(
        model,
        class_weights(
            codes,
            len(labels),
            settings.class_weights,
            None if whole is None else codes_of(whole, labels),
        ),
        settings.label_smoothing,
        plan,
        len(steps),
    )

    def collate(rows: np.ndarray) -> tuple[torch.Tensor, ...]:
        return (*inputs.padded(rows), torch.from_numpy(codes[rows]))

    validation = [
        (*held.padded(rows), torch.from_numpy(held_codes[rows]))
        for rows in in_order(held.lengths, VALIDATION_FACTOR * settings.batch_tokens)
    ]
    more = [private, *more] if private else more
    # A private training takes each row's gradient from the layers' inputs, so they stay whole.
    with nullcontext() if private else first_token_only(model):
        log = train(
            module, steps, collate, validation, work, watch or Watch(), spec.processes, more
        )
    return Finetuned(
        model=model,
        tokenizer=tokenizer,
        log=log,
        facts={
            "texts": len(inputs.ids),
            "tokens_per_epoch": int(inputs.lengths.sum()),
            "steps": len(steps),
            "resumed_from_step": steps.start,
            "parameters": model.num_parameters(),
            "trained_parameters": model.num_parameters(only_trainable=True),
            **plan.facts(len(steps)),
            **(private_facts(work) if private else {}),
        },
    )


@torch.inference_mode()
def predict_probabilities(
    checkpoint: Path,
    texts: list[str],
    spec: VerticalSpec,
    budget: int = INFERENCE_TOKENS,
    states: States | None = None,
) -> np.ndarray:
    """Probabilities, texts x labels, by a fine-tuned checkpoint; `states` looks on."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    inputs = tokenized(texts, AutoTokenizer.from_pretrained(checkpoint), spec)
    probabilities = np.zeros((len(texts), model.config.num_labels), np.float32)
    batches = in_order(inputs.lengths, budget)
    with states.watching(model.base_model, batches) if states else first_token_only(model):
        for rows in batches:
            ids, attention = inputs.padded(rows)
            logits = model(input_ids=ids, attention_mask=attention).logits
            probabilities[rows] = logits.float().softmax(-1).numpy()
    return probabilities
