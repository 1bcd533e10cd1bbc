"""Pretraining loops that `training.py` compares; its docstring says what each one is."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from training_start import (
    MASK,
    MOST,
    PAD,
    PLACES,
    Gate,
    bert,
    masked,
    native_bf16,
    rows_of,
    shuffled,
    steps_of,
    tokenizer_folder,
)

if TYPE_CHECKING:
    import torch

    from vertical_assets.training.loop.batches import Tokenized


def pretrain_ours(inputs: "Tokenized", gate: Gate) -> None:
    from transformers import BertTokenizerFast

    from vertical_assets.spec import Pretrain
    from vertical_assets.training.loop.batches import Steps
    from vertical_assets.training.loop.logs import Watch
    from vertical_assets.training.loop.loop import Plan, train
    from vertical_assets.training.loop.schedules import initial_rate
    from vertical_assets.training.pretraining import MaskedLanguageModule

    chosen = Pretrain(epochs=100, batch_tokens=PLACES)
    steps = Steps(inputs.lengths, chosen.batch_tokens, 0, chosen.epochs, packed=chosen.packing)
    rate = initial_rate(None, len(inputs.ids), 6)
    plan = Plan(chosen, rate, seed=0, monitor="val_loss", mode="min")
    tokenizer = BertTokenizerFast.from_pretrained(tokenizer_folder())
    module = MaskedLanguageModule(bert("MaskedLM"), tokenizer, MASK, plan, len(steps))

    def collate(rows: np.ndarray) -> Any:
        gate(int(inputs.lengths[rows].sum()))
        return inputs.packed(rows) if chosen.packing else inputs.padded(rows)

    with tempfile.TemporaryDirectory() as work:
        watch = Watch(board=Path(work) / "board")
        train(module, steps, collate, [inputs.padded([0])], Path(work), watch)


def pretrain_best(inputs: "Tokenized", gate: Gate) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    from vertical_assets.batching import batches_of_epoch
    from vertical_assets.training.loop.dropout import fast_dropout

    model, bf16 = bert("MaskedLM"), native_bf16()
    step = steps_of(model)
    with fast_dropout(model):
        for rows in batches_of_epoch(inputs.lengths, PLACES, 0, 0):
            gate(int(inputs.lengths[rows].sum()))
            ids, mask = inputs.padded(rows)
            ids, labels = masked(ids)
            chosen = labels != -100
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                hidden = model.bert(ids, attention_mask=mask).last_hidden_state
                logits = model.cls(hidden[chosen])
            step(cross_entropy(logits.float(), labels[chosen]))


def pretrain_packed_rows(inputs: "Tokenized", gate: Gate) -> None:
    import torch
    from torch.nn.functional import cross_entropy

    model, bf16 = bert("MaskedLM"), native_bf16()
    step, texts = steps_of(model), shuffled(len(inputs.ids))
    left = next(texts)
    while True:
        shape = (PLACES // MOST, MOST)
        ids, document = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        position = np.zeros(shape, np.int64)
        for row in range(shape[0]):
            at = 0
            while at + inputs.lengths[left] <= MOST:
                tokens, _ = inputs.end_to_end([left])
                place = slice(at, at + len(tokens))
                ids[row, place], document[row, place] = tokens, at + 1
                position[row, place] = np.arange(len(tokens))
                at, left = at + len(tokens), next(texts)
        gate(int((document > 0).sum()))
        which = torch.from_numpy(document)
        block = (which[:, None, :, None] == which[:, None, None, :])  # fmt: skip
        masked_ids, labels = masked(torch.from_numpy(ids))
        chosen = labels != -100
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            hidden = model.bert(
                masked_ids, attention_mask=block, position_ids=torch.from_numpy(position)
            ).last_hidden_state
            logits = model.cls(hidden[chosen])
        step(cross_entropy(logits.float(), labels[chosen]))


def pretrain_padded(inputs: "Tokenized", gate: Gate) -> None:
    model = bert("MaskedLM")
    step = steps_of(model)
    for rows in rows_of(len(inputs.ids), PLACES // MOST):
        gate(int(inputs.lengths[rows].sum()))
        ids, mask = padded_to(inputs, rows, MOST)
        ids, labels = masked(ids)
        step(model(ids, attention_mask=mask, labels=labels).loss)


def padded_to(
    inputs: "Tokenized", rows: list[int], width: int
) -> "tuple[torch.Tensor, torch.Tensor]":
    """(ids, mask) of rows, filled up to a width."""
    from torch.nn.functional import pad

    ids, mask = inputs.padded(rows)
    extra = (0, width - ids.shape[1])
    return pad(ids, extra, value=PAD), pad(mask, extra)


LOOPS: dict[str, "Callable[[Tokenized, Gate], None]"] = {
    "ours": pretrain_ours,
    "best loop": pretrain_best,
    "packed rows": pretrain_packed_rows,
    "padded float": pretrain_padded,
}
