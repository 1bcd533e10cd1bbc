"""FGSM on the input embeddings (SPEC E6; Goodfellow et al. 2014, "Explaining and Harnessing
Adversarial Examples", equation of section 4).

Each token's embedding e moves by epsilon * |e| / sqrt(width) * sign(gradient of the loss): by
epsilon of its own length, so that epsilons compare between models. Padding and special tokens stay.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from vertical_assets.batching import in_order
from vertical_assets.inference.answers import Answer, answers_of, class_answers, softmax
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.tokenizing import tokenized
from vertical_assets.training.answering import FEATURES, open_features
from vertical_assets.training.finetuning import model_inputs, unpadded
from vertical_assets.training.modules.data import inputs_of, labelled
from vertical_assets.training.modules.heads import LossSettings
from vertical_assets.training.modules.model import VerticalModel, is_vertical

Forward = Callable[[], torch.Tensor]


@contextmanager
def moved_embeddings(layer: nn.Module, by: torch.Tensor) -> Iterator[None]:
    """Adds `by`, rows x length x width, to what an embedding layer gives."""
    handle = layer.register_forward_hook(lambda _, __, given: given + by)
    try:
        yield
    finally:
        handle.remove()


def attacked(
    layer: nn.Module,
    ids: torch.Tensor,
    free: torch.Tensor,
    forward: Forward,
    loss: Callable[[torch.Tensor], torch.Tensor],
    epsilons: Sequence[float],
) -> list[torch.Tensor]:
    """Logits of one batch at every epsilon.

    Args:
        layer: the embeddings of the tokens.
        ids: token ids, rows x length.
        free: which tokens may move, rows x length.
        forward: the model's logits of the batch.
        loss: of logits against the gold targets.
        epsilons: shares of an embedding's length.
    """
    with torch.no_grad():
        embedded = layer(ids)
    by = torch.zeros_like(embedded, requires_grad=True)
    with moved_embeddings(layer, by):
        gradient = torch.autograd.grad(loss(forward()), by)[0]
    length = embedded.norm(dim=-1, keepdim=True) / embedded.shape[-1] ** 0.5
    step = gradient.sign() * length * free[..., None]
    found = []
    with torch.no_grad():
        for epsilon in epsilons:
            with moved_embeddings(layer, epsilon * step):
                found.append(forward())
    return found


def fgsm_answers(
    checkpoint: Path,
    texts: Sequence[str],
    targets: Sequence[Any],
    spec: VerticalSpec,
    epsilons: Sequence[float],
    questions: Sequence[str] | None = None,
    budget: int = 2048,
) -> list[list[Answer]]:
    """The network's answers at every epsilon, without the cascade's first stage.

    Args:
        checkpoint: directory of `finetuned_ckpt`.
        texts: whole texts; features made of them (TF-IDF, word vectors) are not attacked.
        targets: gold, by the task's kind.
        spec: sections `model`, `task`.
        epsilons: shares of an embedding's length; 0 is the model as it is.
        questions: one per text, for question answering; their tokens move too.
        budget: tokens of a batch.
    """
    if is_vertical(checkpoint):
        return _of_vertical(checkpoint, texts, targets, spec, epsilons, questions, budget)
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    model.requires_grad_(False)
    inputs = tokenized(list(texts), tokenizer, spec)
    codes = np.array([spec.labels.index(each) for each in targets])
    special = torch.tensor(tokenizer.all_special_ids)
    logits = np.zeros((len(epsilons), len(texts), len(spec.labels)), np.float32)
    for rows in in_order(inputs.lengths, budget):
        ids, mask = inputs.padded(rows)
        gold = torch.from_numpy(codes[rows])

        def forward(ids: torch.Tensor = ids, mask: torch.Tensor = mask) -> torch.Tensor:
            return model(input_ids=ids, attention_mask=mask).logits.float()

        def loss(given: torch.Tensor, gold: torch.Tensor = gold) -> torch.Tensor:
            return cross_entropy(given, gold)

        free = (mask > 0) & ~torch.isin(ids, special)
        layer = model.get_input_embeddings()
        for number, found in enumerate(attacked(layer, ids, free, forward, loss, epsilons)):
            logits[number, rows] = found.numpy()
    return [class_answers(softmax(each), spec.labels) for each in logits]


def _of_vertical(
    checkpoint: Path,
    texts: Sequence[str],
    targets: Sequence[Any],
    spec: VerticalSpec,
    epsilons: Sequence[float],
    questions: Sequence[str] | None,
    budget: int,
) -> list[list[Answer]]:
    from transformers import AutoTokenizer

    kind, labels = spec.task.kind, spec.labels
    model = VerticalModel.from_pretrained(checkpoint).eval()
    model.requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    folders = {n: checkpoint / FEATURES / n for n in model.config.feature_widths or {}}
    inputs = inputs_of(
        kind, texts, questions, tokenizer.backend_tokenizer, model.config, open_features(folders)
    )
    gold = labelled(kind, labels, targets, inputs)
    special = torch.tensor(tokenizer.all_special_ids)
    found: list[dict[int, np.ndarray]] = [{} for _ in epsilons]
    for rows in in_order(inputs.windows.lengths, budget):
        batch = gold.batch(rows)

        def forward(batch: Mapping[str, Any] = batch) -> torch.Tensor:
            return model(**model_inputs(batch)).logits

        def loss(given: torch.Tensor, batch: Mapping[str, Any] = batch) -> torch.Tensor:
            return model.head.loss(given, batch, LossSettings())

        ids = batch["input_ids"]
        free = (batch["attention_mask"] > 0) & ~torch.isin(ids, special)
        layer = model.encoder.get_input_embeddings()
        for each, logits in zip(
            found, attacked(layer, ids, free, forward, loss, epsilons), strict=True
        ):
            each |= unpadded(logits, batch)
    return [
        answers_of(
            kind,
            labels,
            [each[row] for row in range(len(each))],
            inputs.windows,
            len(texts),
            model.chain,
        )
        for each in found
    ]
