"""Answers of a tuned decoder: greedy or sampled, in batches, and how likely given answers are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
import xxhash
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from vertical_assets.batching import in_order
from vertical_assets.labels.generation.pairs import Pairs
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.generation.causal import IGNORED, Packed
from vertical_assets.training.generation.instruction import write_pairs, write_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

BATCH_TOKENS = 8192  # prompts and answers that are generated together


@dataclass(frozen=True)
class Answer:
    """What the model said; `finished` where it ended by itself."""

    text: str
    finished: bool


@dataclass(frozen=True)
class Likelihood:
    """-log probability of an answer in nats, and of how many tokens."""

    nats: float
    tokens: int


class GumbelNoise(LogitsProcessor):
    """Turns the likeliest token into a sample: logits plus Gumbel noise have their maximum at token
    i with probability softmax(logits)_i (Gumbel 1954; Maddison et al. 2014, arXiv:1411.0030).

    Each row draws from a generator of its own, so that an answer depends on seed and prompt alone,
    not on the batch that it is made in.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores with noise, rows x vocabulary."""
        noise = torch.stack(
            [torch.rand(scores.shape[1], generator=each) for each in self.generators]
        ).clamp_(min=torch.finfo(torch.float32).tiny)
        return scores - torch.log(-torch.log(noise)).to(scores)


def open_decoder(checkpoint: Path) -> tuple["PreTrainedModel", "PreTrainedTokenizerFast"]:
    """Model, in float, and tokenizer of a checkpoint."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    return AutoModelForCausalLM.from_pretrained(checkpoint).eval(), tokenizer


@torch.inference_mode()
def generate_answers(
    checkpoint: Path,
    prompts: Sequence[str],
    spec: VerticalSpec,
    budget: int = BATCH_TOKENS,
    seeds: Sequence[int] | None = None,
) -> list[Answer]:
    """Answers to prompts, in their order; an equal prompt and seed gives an equal answer.

    A prompt that leaves no room for `generate.max_new_tokens` loses its beginning.

    Args:
        checkpoint: Hugging Face directory of a tuned decoder.
        prompts: what is asked, without template.
        spec: sections `generate`, `instruct.system`, `model.max_tokens`, `seed`.
        budget: tokens that are generated together.
        seeds: of each prompt, for several answers to one; spec.seed where not given.
    """
    settings = spec.generate
    model, tokenizer = open_decoder(checkpoint)
    room = spec.model.max_tokens - settings.max_new_tokens
    wanted = list(zip(prompts, seeds or [spec.seed] * len(prompts), strict=True))
    distinct = list(dict.fromkeys(wanted))
    asked = [
        tokenizer(write_prompt(prompt, tokenizer, spec.instruct), add_special_tokens=False)[
            "input_ids"
        ][-room:]
        for prompt, _ in distinct
    ]
    lengths = torch.tensor([len(ids) + settings.max_new_tokens for ids in asked]).numpy()
    answers: dict[tuple[str, int], Answer] = {}
    for rows in in_order(lengths, budget):
        ids, mask = left_padded([asked[row] for row in rows], tokenizer.pad_token_id)
        processors = LogitsProcessorList()
        if settings.temperature > 0:
            processors.append(TemperatureLogitsWarper(settings.temperature))
            if settings.top_p < 1:
                processors.append(TopPLogitsWarper(settings.top_p))
            chosen = [distinct[row] for row in rows]
            processors.append(
                GumbelNoise(
                    [
                        xxhash.xxh3_64_intdigest(f"{seed}\0{prompt}".encode()) >> 1
                        for prompt, seed in chosen
                    ]
                )
            )
        produced = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=settings.max_new_tokens,
            do_sample=False,  # the noise is what samples
            logits_processor=processors,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )[:, ids.shape[1] :]
        for row, tokens in zip(rows, produced.tolist(), strict=True):
            finished = tokenizer.eos_token_id in tokens
            said = tokens[: tokens.index(tokenizer.eos_token_id)] if finished else tokens
            text = cast("str", tokenizer.decode(said, skip_special_tokens=True))
            answers[distinct[row]] = Answer(text.strip(), finished)
    return [answers[each] for each in wanted]


def left_padded(ids: Sequence[list[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, attention mask), rows x longest: the prompts end together, where the answers begin."""
    width = max(map(len, ids))
    filled = [[pad_id] * (width - len(row)) + row for row in ids]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in ids]
    return torch.tensor(filled), torch.tensor(mask)


@torch.inference_mode()
def likelihoods(
    checkpoint: Path, pairs: Pairs, spec: VerticalSpec, budget: int = BATCH_TOKENS
) -> list[Likelihood | None]:
    """How likely the model finds each pair's answer; None where the prompt fills a whole row.

    An answer longer than the row counts as far as it fits.

    Args:
        checkpoint: Hugging Face directory of a tuned decoder.
        pairs: prompts and answers.
        spec: sections `instruct.system`, `model.max_tokens`.
        budget: tokens that are looked at together.
    """
    model, tokenizer = open_decoder(checkpoint)
    width = spec.model.max_tokens
    written = write_pairs(pairs, tokenizer, spec.instruct, width)
    packed = Packed(written.sequences, width, tokenizer.pad_token_id)
    found: list[Likelihood | None] = [None] * len(pairs)
    size = max(1, budget // width)
    for first in range(0, len(packed.rows), size):
        rows = range(first, min(first + size, len(packed.rows)))
        ids, positions, labels = packed.batch(rows)
        logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
        losses = cross_entropy(
            logits[:, :-1].transpose(1, 2).float(),
            labels[:, 1:],
            ignore_index=IGNORED,
            reduction="none",
        )
        for place, row in enumerate(rows):
            start = 0
            for number in packed.rows[row]:
                end = start + len(written.sequences.ids[number])
                chosen = labels[place, start + 1 : end] != IGNORED
                nats = losses[place, start : end - 1][chosen]
                found[written.rows[number]] = Likelihood(float(nats.sum()), len(nats))
                start = end
    return found
