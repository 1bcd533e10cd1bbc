"""INT8 by OpenVINO and NNCF: post-training quantization with calibration texts (SPEC P3, P4)."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertical_assets.corpus.cleaning.terms import Terms
from vertical_assets.inference import cascade
from vertical_assets.release.predictor import (
    DESCRIPTION,
    INPUTS,
    MODEL,
    TOKENIZER,
    checksums,
    encode,
    load_tokenizer,
    padded,
)
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.versions import MANIFEST

if TYPE_CHECKING:
    import openvino as ov


def quantize(
    checkpoint: Path, texts: list[str], spec: VerticalSpec, out: Path, manifest: dict[str, Any]
) -> dict[str, int]:
    """Writes the artifact of a fine-tuned checkpoint.

    Args:
        checkpoint: Hugging Face directory of a sequence classifier.
        texts: training texts; `quantize.calibration_texts` of them, evenly spread, calibrate the
            activations.
        spec: sections `quantize`, `model`, `task`.
        out: empty directory.
        manifest: what the artifact is made from; checksums are added.

    Returns:
        Sizes in bytes: `float_bytes` of the checkpoint's weights, `int8_bytes` of the artifact's.
    """
    import nncf
    import openvino as ov
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from vertical_assets.training.adaptation.keyword_attention import keyword_terms

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    pad_id = int(model.config.pad_token_id or 0)
    shutil.copyfile(checkpoint / TOKENIZER, out / TOKENIZER)
    cascade.copy(checkpoint, out)
    tokenizer = load_tokenizer(out / TOKENIZER, spec.model.max_tokens)
    terms = keyword_terms(AutoTokenizer.from_pretrained(checkpoint))
    wanted = spec.quantize.calibration_texts
    chosen = texts[:: max(1, len(texts) // wanted)][:wanted]
    # One text a sample: no padding reaches the statistics.
    samples = [padded([one], pad_id) for one in encode(tokenizer, chosen, Terms(terms))]
    quantized = nncf.quantize(
        to_openvino(model, samples[:2]),
        nncf.Dataset(samples),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(samples),
    )
    # What stays unquantized stays as it was trained: no 16-bit floats.
    ov.save_model(quantized, out / MODEL, compress_to_fp16=False)
    description = {
        "task": spec.task.name,
        "labels": [model.config.id2label[code] for code in range(model.config.num_labels)],
        "max_tokens": spec.model.max_tokens,
        "pad_id": pad_id,
        **({"keyword_terms": terms} if terms else {}),
    }
    (out / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False, indent=2))
    (out / MANIFEST).write_text(
        json.dumps({**manifest, "checksums": checksums(out)}, indent=2, sort_keys=True)
    )
    return {
        "float_bytes": (checkpoint / "model.safetensors").stat().st_size,
        "int8_bytes": sum(
            (out / MODEL).with_suffix(end).stat().st_size for end in (".xml", ".bin")
        ),
    }


def to_openvino(model: Any, samples: list[dict[str, Any]]) -> "ov.Model":
    """The model's graph, (input_ids, attention_mask) -> logits, of any batch and length."""
    import openvino as ov
    import torch

    with torch.inference_mode():
        graph = ov.convert_model(
            model,
            example_input={name: torch.from_numpy(value) for name, value in samples[0].items()},
            input=[(name, ov.PartialShape([-1, -1]), ov.Type.i64) for name in INPUTS],
        )
    for port, name in zip(graph.inputs, INPUTS, strict=True):
        port.get_tensor().set_names({name})
    return graph
