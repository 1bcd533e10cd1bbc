"""Instruction tuning: pairs written by the chat template, loss on the answers only (SPEC M1)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from vertical_assets.labels.generation.pairs import Pairs
from vertical_assets.spec import Instruct, VerticalSpec
from vertical_assets.training.generation.causal import (
    IGNORED,
    CausalModule,
    Packed,
    Sequences,
    mean_loss,
    plan_of,
)
from vertical_assets.training.loop.logs import Watch
from vertical_assets.training.loop.loop import train

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class InstructionError(Exception):
    """Pairs can't be written or learnt; the message names the remedy."""


@dataclass(frozen=True)
class Written:
    """Pairs as sequences, and which of them found no room for one token of their answer."""

    sequences: Sequences
    rows: list[int]  # the pair of each sequence
    cut: int  # answers that were cut to fit
    too_long: list[int]  # pairs left out: their prompt alone fills a row


@dataclass(frozen=True)
class Instructed:
    """A tuned decoder, the validation loss on answers before and after, and the run's log."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    loss_before: float
    loss_after: float
    log: list[dict[str, Any]]
    facts: dict[str, Any]


def messages_of(prompt: str, instruct: Instruct) -> list[dict[str, str]]:
    """A conversation of which the answer is wanted."""
    system = [{"role": "system", "content": instruct.system}] if instruct.system else []
    return [*system, {"role": "user", "content": prompt}]


def write_prompt(prompt: str, tokenizer: "PreTrainedTokenizerFast", instruct: Instruct) -> str:
    """A prompt as the chat template writes it, up to where the answer begins."""
    written = tokenizer.apply_chat_template(
        messages_of(prompt, instruct), tokenize=False, add_generation_prompt=True
    )
    return cast("str", written)


def write_pairs(
    pairs: Pairs, tokenizer: "PreTrainedTokenizerFast", instruct: Instruct, width: int
) -> Written:
    """Pairs as token ids of at most `width`; labels of prompt tokens are IGNORED.

    Prompt and answer are tokenized apart, as they are when an answer is generated. An answer ends
    with the tokenizer's end token.

    Raises:
        InstructionError: the chat template does not write the prompt in the same way with its
            answer and without.
    """
    ids: list[list[int]] = []
    labels: list[list[int]] = []
    rows: list[int] = []
    too_long: list[int] = []
    cut, end = 0, tokenizer.eos_token_id
    for number, (prompt, answer) in enumerate(zip(pairs.prompts, pairs.answers, strict=True)):
        before = write_prompt(prompt, tokenizer, instruct)
        conversation = [
            *messages_of(prompt, instruct),
            {"role": "assistant", "content": answer},
        ]
        whole = cast("str", tokenizer.apply_chat_template(conversation, tokenize=False))
        if not whole.startswith(before):
            raise InstructionError(
                "the chat template writes a conversation with an answer in another way than with "
                "add_generation_prompt; correct instruct.template so that the one begins with the "
                "other"
            )
        asked, said = (
            tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (before, whole[len(before) :])
        )
        said = [*said[: said.index(end)], end] if end in said else [*said, end]
        if len(asked) >= width:
            too_long.append(number)
            continue
        cut += len(asked) + len(said) > width
        said = said[: width - len(asked)]
        ids.append(asked + said)
        labels.append([IGNORED] * len(asked) + said)
        rows.append(number)
    return Written(Sequences(ids, labels), rows, cut, too_long)


def with_lora(model: "PreTrainedModel", instruct: Instruct, seed: int) -> "PreTrainedModel":
    """The model with adapters, which alone learn; the model itself where none are wanted.

    Raises:
        InstructionError: a target is no layer of the model.
    """
    if instruct.lora is None:
        return model
    from peft import LoraConfig, get_peft_model

    lora = instruct.lora
    torch.manual_seed(seed)  # adapters start from random weights
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if lora.targets == "all-linear" else list(lora.targets),
        task_type="CAUSAL_LM",
    )
    try:
        return cast("PreTrainedModel", get_peft_model(model, config))
    except ValueError as error:
        raise InstructionError(f"instruct.lora.targets: {error}") from error


def tune(
    base: Path,
    train_set: Pairs,
    validation_set: Pairs,
    spec: VerticalSpec,
    work: Path,
    watch: Watch | None = None,
) -> Instructed:
    """Teaches the decoder to answer; keeps the weights of the best validation loss on answers.

    Args:
        base: Hugging Face directory of the pretrained decoder.
        train_set: what is learnt from.
        validation_set: decides which weights are kept and when to stop (M13).
        spec: sections `finetune`, `instruct`, `model`, `processes`, `seed`.
        work: folder of this run; a checkpoint found there is resumed.
        watch: who is told while it runs.

    Raises:
        InstructionError: the template or the targets don't fit, or no pair fits into a row.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    settings, width = spec.finetune, spec.model.max_tokens
    tokenizer = AutoTokenizer.from_pretrained(base)
    if spec.instruct.template is not None:
        tokenizer.chat_template = spec.instruct.template
    written, held = (
        write_pairs(pairs, tokenizer, spec.instruct, width) for pairs in (train_set, validation_set)
    )
    for name, some in (("train", written), ("validation", held)):
        if not some.rows:
            raise InstructionError(
                f"no pair of the {name} split fits into model.max_tokens ({width}); raise it"
            )
    rows = Packed(written.sequences, width, tokenizer.pad_token_id)
    model = with_lora(AutoModelForCausalLM.from_pretrained(base), spec.instruct, spec.seed)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    steps = rows.steps(settings, spec)
    plan = plan_of(
        settings,
        len(written.rows),
        model.config.num_hidden_layers,
        spec.seed,
        settings.epochs,
        settings.patience,
    )
    module = CausalModule(model, plan, len(steps), settings.label_smoothing)
    validation = Packed(held.sequences, width, tokenizer.pad_token_id).batches(
        settings.batch_tokens
    )
    before = mean_loss(module, validation)
    log = train(module, steps, rows.batch, validation, work, watch or Watch(), spec.processes)
    after = mean_loss(module, validation)
    merged = cast("Any", model).merge_and_unload() if spec.instruct.lora else model
    return Instructed(
        model=merged,
        tokenizer=tokenizer,
        loss_before=before,
        loss_after=after,
        log=log,
        facts={
            "pairs": len(written.rows),
            "answers_cut": written.cut,
            "pairs_too_long": len(written.too_long),
            "answer_tokens": sum(
                label != IGNORED for labels in written.sequences.labels for label in labels
            ),
            "row_tokens": int(rows.lengths.sum()),  # with prompts, and what is left of a row
            "steps": len(steps),
            "resumed_from_step": steps.start,
            "parameters": merged.num_parameters(),
            "trained_parameters": trained,
            **plan.facts(len(steps)),
        },
    )
