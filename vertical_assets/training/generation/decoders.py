"""Decoders to start from: a new one with a tokenizer trained on the corpus, or an existing one."""

from pathlib import Path
from typing import Any

from vertical_assets.spec import VerticalSpec
from vertical_assets.training.adaptation.base_models import Base, BaseModelError, prepare_base

# Llama's proportions (Touvron et al. 2023, arXiv:2302.13971): heads of 64 or more, and a gated
# inner layer 8/3 times as wide, which has the parameters of a plain one four times as wide
# (Shazeer 2020, arXiv:2002.05202).
HEAD_WIDTH, INNER_FACTOR, SCRATCH_LAYERS, POSITIONS = 64, 8 / 3, 6, 512
PAD, END = "<|pad|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
# One message after another, each with its role before it and its end behind it (as ChatML does).
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def prepare_decoder(spec: VerticalSpec, texts: list[str], out: Path) -> Base:
    """The decoder that `model.base` names, as a directory, with a chat template in its tokenizer.

    Args:
        spec: section `model`; `seed` for new weights.
        texts: the corpus; a new tokenizer is trained on it.
        out: where the model is written.

    Raises:
        BaseModelError: a package or directory is missing, or holds no decoder.
    """
    if spec.model.base == "scratch":
        return _from_scratch(spec, texts, out)
    return _with_roles(prepare_base(spec, texts, out / "base"), out)


def _from_scratch(spec: VerticalSpec, texts: list[str], out: Path) -> Base:
    """New weights, with a byte-level byte-pair tokenizer: no text is unknown to it."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.trainers import BpeTrainer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    model = spec.model
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        BpeTrainer(
            vocab_size=model.vocabulary,
            special_tokens=[PAD, END, *ROLES],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(out)
    torch.manual_seed(spec.seed)
    width = model.hidden_size
    decoder = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=width,
            intermediate_size=8 * round(INNER_FACTOR * width / 8),
            num_hidden_layers=len(model.layers) if model.layers else SCRATCH_LAYERS,
            num_attention_heads=max(1, width // HEAD_WIDTH),
            max_position_embeddings=POSITIONS,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.token_to_id(END),
            pad_token_id=tokenizer.token_to_id(PAD),
        )
    )
    decoder.save_pretrained(out)
    return Base(out, {"base": "new weights", "vocab": tokenizer.get_vocab_size()})


def _with_roles(base: Base, out: Path) -> Base:
    """A copy whose tokenizer can pad and write a conversation; it gets what it lacks."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base.path)
    try:
        model = AutoModelForCausalLM.from_pretrained(base.path)
    except ValueError as error:
        raise BaseModelError(
            f"{base.path} holds no decoder; model.architecture 'gpt' needs one that "
            "AutoModelForCausalLM opens"
        ) from error
    missing: dict[str, Any] = {}
    if tokenizer.pad_token is None:
        missing["pad_token"] = PAD
    if tokenizer.eos_token is None:
        missing["eos_token"] = END
    if tokenizer.chat_template is None:
        missing["extra_special_tokens"] = [*ROLES, END]
        tokenizer.chat_template = CHAT_TEMPLATE.replace("<|end|>", tokenizer.eos_token or END)
    tokenizer.add_special_tokens(missing)
    if len(tokenizer) > model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer))
    for config in (model.config, model.generation_config):
        config.pad_token_id, config.eos_token_id = tokenizer.pad_token_id, tokenizer.eos_token_id
    tokenizer.save_pretrained(out)
    model.save_pretrained(out)
    return Base(out, {**base.facts, "added_tokens": len(missing)})
