"""Fine-tuning loops that `training.py` compares; its docstring says what each one is.

What is learnt does not matter here: the class is whether a text has an odd length.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from training_start import PLACES, RATE, Gate, bert, native_bf16, steps_of

if TYPE_CHECKING:
    from vertical_assets.training.loop.batches import Tokenized


def class_of(inputs: "Tokenized") -> np.ndarray:
    """The class of each text, 0 or 1."""
    return np.array([len(ids) % 2 for ids in inputs.ids.to_pylist()])


def rows_per_step(inputs: "Tokenized") -> int:
    """Texts in a batch of ours, on average."""
    from vertical_assets.training.loop.batches import Steps

    return round(len(inputs.ids) / Steps(inputs.lengths, PLACES, 0, 1).total)


def finetune_ours(inputs: "Tokenized", gate: Gate) -> None:
    import torch

    from vertical_assets.spec import Finetune
    from vertical_assets.training.adaptation.first_token import first_token_only
    from vertical_assets.training.classification import ClassificationModule
    from vertical_assets.training.loop.batches import Steps
    from vertical_assets.training.loop.logs import Watch
    from vertical_assets.training.loop.loop import Plan, train
    from vertical_assets.training.loop.schedules import initial_rate

    chosen, codes = Finetune(epochs=100, batch_tokens=PLACES), class_of(inputs)
    steps = Steps(inputs.lengths, chosen.batch_tokens, 0, chosen.epochs)
    rate = initial_rate(None, len(inputs.ids), 6)
    plan = Plan(chosen, rate, seed=0, monitor="val_f1_macro", mode="max")
    module = ClassificationModule(
        bert("SequenceClassification"), None, chosen.label_smoothing, plan, len(steps)
    )

    def collate(rows: np.ndarray) -> Any:
        gate(int(inputs.lengths[rows].sum()))
        return (*inputs.padded(rows), torch.from_numpy(codes[rows]))

    held = (*inputs.padded([0]), torch.from_numpy(codes[:1]))
    with tempfile.TemporaryDirectory() as work, first_token_only(module.model):
        train(module, steps, collate, [held], Path(work), Watch(board=Path(work) / "board"))


def loader(inputs: "Tokenized", gate: Gate) -> Any:
    """A shuffled DataLoader of dictionaries, padded to the longest of the batch."""
    import torch
    from torch.utils.data import DataLoader

    codes = class_of(inputs)

    def collate(rows: list[int]) -> dict[str, Any]:
        gate(int(inputs.lengths[rows].sum()))
        ids, mask = inputs.padded(rows)
        labels = torch.from_numpy(codes[rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    rows: Any = range(len(inputs.ids))
    return DataLoader(rows, rows_per_step(inputs), shuffle=True, collate_fn=collate)


def finetune_plain(inputs: "Tokenized", gate: Gate) -> None:
    model = bert("SequenceClassification")
    step = steps_of(model)
    while True:
        for batch in loader(inputs, gate):
            step(model(**batch).loss)


def finetune_lightning(inputs: "Tokenized", gate: Gate) -> None:
    import lightning.pytorch as pl
    import torch

    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = bert("SequenceClassification")

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss: torch.Tensor = self.model(**batch).loss
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=RATE, weight_decay=0.01)

    with tempfile.TemporaryDirectory() as work:
        trainer = pl.Trainer(
            max_epochs=100,
            gradient_clip_val=1.0,
            default_root_dir=work,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(Classifier(), loader(inputs, gate))


def finetune_hf_trainer(inputs: "Tokenized", gate: Gate) -> None:
    import torch
    from transformers import Trainer, TrainingArguments

    codes = class_of(inputs)

    class Texts(torch.utils.data.Dataset[dict[str, Any]]):
        def __len__(self) -> int:
            return len(inputs.ids)

        def __getitem__(self, row: int) -> dict[str, Any]:
            return {"row": row, "input_ids": inputs.end_to_end([row])[0]}

        def __getitems__(self, rows: list[int]) -> list[dict[str, Any]]:
            return [self[row] for row in rows]

    def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [item["row"] for item in items]
        gate(int(inputs.lengths[rows].sum()))
        ids, mask = inputs.padded(rows)
        labels = torch.from_numpy(codes[rows])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    with tempfile.TemporaryDirectory() as work:
        arguments = TrainingArguments(
            output_dir=work,
            num_train_epochs=100,
            per_device_train_batch_size=rows_per_step(inputs),
            train_sampling_strategy="group_by_length",
            bf16=native_bf16(),
            optim="adamw_torch_fused",
            label_smoothing_factor=0.1,
            learning_rate=RATE,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),
        )
        Trainer(
            bert("SequenceClassification"), arguments, data_collator=collate, train_dataset=Texts()
        ).train()


LOOPS: dict[str, "Callable[[Tokenized, Gate], None]"] = {
    "ours": finetune_ours,
    "plain": finetune_plain,
    "lightning": finetune_lightning,
    "hf trainer": finetune_hf_trainer,
}
