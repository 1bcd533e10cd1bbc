"""Vocabulary pruning: the tokenizer keeps what the corpus uses, the embeddings are cut to match.

Most of a general model's vocabulary serves other languages and domains, and its embeddings are
most of a small model's parameters. Texts of the corpus are cut into the same pieces as before, so
the pruned model computes the same on them; other texts fall back on shorter pieces and characters.
Why nothing changes on the corpus, by the kind of tokenizer:

- Unigram takes the best-scored path. Without pieces that are on no best path only losers are gone;
  scores stay, and the lowest-scored piece too, since it sets the price of an unknown character.
- WordPiece takes the longest piece each time. The one it took is still there, longer ones are not.
- BPE takes the merge of lowest rank each time. Merges that made a used piece stay, in their order;
  of the merges that could be taken at each step, the one that was is still the first.
"""

import json
import string
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from vertical_assets.spec.adaptation import PruneVocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KINDS = ("Unigram", "WordPiece", "BPE")
BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))  # pieces of `byte_fallback`
SPACE = "▁"  # what stands for a space in Unigram and some BPE vocabularies
TEXTS_AT_A_TIME = 4096
VERIFIED_TEXTS = 10_000


class VocabularyError(Exception):
    """This vocabulary can't be pruned; the message says why."""


def kept_ids(
    tokenizer: dict[str, Any], texts: Sequence[str], settings: PruneVocabulary
) -> NDArray[np.int64]:
    """Ids that stay, rising: pieces that the texts use, special tokens, single characters.

    Args:
        tokenizer: content of a tokenizer.json.
        texts: the corpus.
        settings: how often a piece must occur; words whose pieces stay in any case.

    Raises:
        VocabularyError: a tokenizer of another kind than Unigram, WordPiece or BPE.
    """
    model = tokenizer["model"]
    if model["type"] not in KINDS:
        raise VocabularyError(
            f"model.prune_vocabulary knows tokenizers of kind {', '.join(KINDS)}, this one is "
            f"{model['type']}; remove it, or choose another base"
        )
    full = _reader(tokenizer)
    pieces = _pieces(model)
    counts = np.zeros(max(full.get_vocab(with_added_tokens=True).values()) + 1, np.int64)
    characters = set(string.printable) | {SPACE}
    for batch in _batches(texts):
        ids = [encoding.ids for encoding in full.encode_batch_fast(batch, add_special_tokens=False)]
        counts += np.bincount(np.concatenate([[], *ids]).astype(np.int64), minlength=len(counts))
        characters.update(
            *(map(full.normalizer.normalize_str, batch) if full.normalizer else batch)
        )
    used = set(np.flatnonzero(counts >= settings.min_count).tolist())
    for encoding in full.encode_batch(list(settings.extra_tokens), add_special_tokens=False):
        used.update(encoding.ids)

    added = {token["id"] for token in tokenizer["added_tokens"]}
    if _byte_level(tokenizer):
        characters = set(ByteLevel.alphabet())
    inside = model.get("continuing_subword_prefix") or ""
    wanted = {form for char in characters for form in (char, inside + char)}
    wanted |= {str(model.get("unk_token"))} | (BYTES if model.get("byte_fallback") else set())
    kept = used | added | {pieces[piece] for piece in wanted if piece in pieces}
    if model["type"] == "Unigram":
        scores = [score for _, score in model["vocab"]]
        kept.add(scores.index(min(scores)))
        kept |= {model["unk_id"]} - {None}
    if model["type"] == "BPE":
        names = {number: piece for piece, number in pieces.items()}
        whole = (names[number] for number in used - added if number in names)
        kept |= {pieces[piece] for piece in _built_from(model, whole)}
    return np.array(sorted(kept), np.int64)


def pruned_tokenizer(tokenizer: dict[str, Any], ids: NDArray[np.int64]) -> dict[str, Any]:
    """The tokenizer.json with only these ids, renumbered in this order."""
    new = {int(old): place for place, old in enumerate(ids)}
    model = dict(tokenizer["model"])
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in ids if old < len(model["vocab"])]
        model["unk_id"] = new.get(model["unk_id"])
    else:
        model["vocab"] = {piece: new[old] for piece, old in model["vocab"].items() if old in new}
    if model["type"] == "BPE":
        model["merges"] = [
            merge
            for merge in model["merges"]
            if all(part in model["vocab"] for part in (*_pair(merge), "".join(_pair(merge))))
        ]
    pruned = tokenizer | {
        "added_tokens": [t | {"id": new[t["id"]]} for t in tokenizer["added_tokens"]],
        "post_processor": _renumbered(tokenizer.get("post_processor"), new),
        "model": model,
    }
    if padding := tokenizer.get("padding"):
        pruned["padding"] = padding | {"pad_id": new[padding["pad_id"]]}
    return pruned


def prune(model: "PreTrainedModel", ids: NDArray[np.int64]) -> "PreTrainedModel":
    """A model like this one whose embeddings, and prediction head if any, have these rows only.

    Raises:
        VocabularyError: a RoBERTa whose padding token would get another number.
    """
    from torch import nn

    config = type(model.config).from_dict(model.config.to_dict())
    new = {int(old): place for place, old in enumerate(ids)}
    config.vocab_size = len(ids)
    for name, value in config.to_dict().items():
        if name.endswith("_token_id") and isinstance(value, int):
            setattr(config, name, new.get(value))
    moved = config.pad_token_id != model.config.pad_token_id
    if moved and "roberta" in config.model_type:
        raise VocabularyError(
            "the positions of a RoBERTa are counted from the number of its padding token, which "
            "pruning would change here; remove model.prune_vocabulary"
        )
    by_row = {id(model.get_input_embeddings().weight)}
    if isinstance(head := model.get_output_embeddings(), nn.Linear):
        by_row |= {id(head.weight), id(head.bias)}
    cut = {
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if id(parameter) in by_row
    }
    state = {
        name: value[ids].clone() if name in cut else value
        for name, value in model.state_dict().items()
    }
    pruned = type(model)(config)
    pruned.load_state_dict(state)
    return pruned


def prune_checkpoint(path: Path, texts: list[str], settings: PruneVocabulary, out: Path) -> None:
    """Writes the checkpoint at `path` with the vocabulary that the texts need to `out`.

    Raises:
        VocabularyError: the tokenizer can't be pruned, or would cut texts in another way.
    """
    from vertical_assets.training.loop.checkpoints import open_base

    model, tokenizer = open_base(path)
    if not getattr(tokenizer, "is_fast", False):
        raise VocabularyError(
            f"model.prune_vocabulary needs a fast tokenizer; {path} has no tokenizer.json"
        )
    full = json.loads(tokenizer.backend_tokenizer.to_str())
    ids = kept_ids(full, texts, settings)
    pruned = pruned_tokenizer(full, ids)
    if settings.min_count == 1:
        verify(full, pruned, texts)
    prune(model, ids).save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_tokenizer(pruned, out)


def write_tokenizer(tokenizer: dict[str, Any], out: Path) -> None:
    """Puts a tokenizer.json into a checkpoint, to be taken as it is."""
    file = out / "tokenizer_config.json"
    described = json.loads(file.read_text(encoding="utf-8"))
    # Ids of another vocabulary, and a class that would build its own rules around this one.
    described.pop("added_tokens_decoder", None)
    described["tokenizer_class"] = "PreTrainedTokenizerFast"
    for path, content in ((file, described), (out / "tokenizer.json", tokenizer)):
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def verify(full: dict[str, Any], pruned: dict[str, Any], texts: list[str]) -> None:
    """Compares the pieces of both tokenizers on texts, at most 10,000, evenly spread.

    Raises:
        VocabularyError: naming the first text that is cut in another way.
    """
    readers = [_reader(tokenizer) for tokenizer in (full, pruned)]
    for batch in _batches(texts[:: max(1, len(texts) // VERIFIED_TEXTS)]):
        before, after = (reader.encode_batch(batch) for reader in readers)
        for text, one, other in zip(batch, before, after, strict=True):
            if one.tokens != other.tokens:
                raise VocabularyError(
                    f"the pruned tokenizer cuts {text[:80]!r} in another way; its kind has rules "
                    "that pruning does not know: remove model.prune_vocabulary"
                )


def _reader(tokenizer: dict[str, Any]) -> Tokenizer:
    """The tokenizer itself, without the truncation and padding that its file may ask for."""
    reader = Tokenizer.from_str(json.dumps(tokenizer))
    reader.no_truncation()
    reader.no_padding()
    return reader


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), TEXTS_AT_A_TIME):
        yield list(texts[start : start + TEXTS_AT_A_TIME])


def _pieces(model: dict[str, Any]) -> dict[str, int]:
    if model["type"] == "Unigram":
        return {piece: place for place, (piece, _) in enumerate(model["vocab"])}
    return model["vocab"]


def _byte_level(part: Any) -> bool:
    """Whether a pre-tokenizer of this tokenizer turns bytes into characters."""
    if isinstance(part, dict):
        return part.get("type") == "ByteLevel" or any(
            _byte_level(part[name])
            for name in ("pre_tokenizer", "pretokenizers", "normalizer", "normalizers")
            if name in part
        )
    return isinstance(part, list) and any(map(_byte_level, part))


def _pair(merge: str | list[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _built_from(model: dict[str, Any], pieces: Iterable[str]) -> set[str]:
    """The pieces that are merged on the way to these, and their characters.

    No merge crosses the borders of a piece that stays, so each piece is built as if alone.

    Raises:
        VocabularyError: pieces are marked by where in a word they stand.
    """
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise VocabularyError(
            "model.prune_vocabulary does not know BPE with marks for the inside or the end of "
            "words; remove it"
        )
    ranks = {_pair(merge): rank for rank, merge in enumerate(model["merges"])}
    found: set[str] = set()
    for piece in pieces:
        if model.get("byte_fallback") and piece in BYTES:
            continue
        parts = list(piece)
        while True:
            found.update(part for part in parts if part in model["vocab"])
            known = [
                (ranks[pair], place) for place, pair in enumerate(pairwise(parts)) if pair in ranks
            ]
            if not known:
                break
            _, place = min(known)
            parts[place : place + 2] = ["".join(parts[place : place + 2])]
    return found


def _renumbered(part: Any, new: dict[int, int]) -> Any:
    """A post-processor with new ids: in `ids` (templates), `sep` and `cls` (BERT, RoBERTa)."""
    if isinstance(part, list):
        return [_renumbered(item, new) for item in part]
    if not isinstance(part, dict):
        return part
    changed = {name: _renumbered(value, new) for name, value in part.items()}
    if "ids" in part:
        changed["ids"] = [new[number] for number in part["ids"]]
    for name in ("sep", "cls"):
        if name in part:
            token, number = part[name]
            changed[name] = [token, new[number]]
    return changed
