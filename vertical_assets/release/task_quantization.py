"""INT8 of a model with modules, by OpenVINO and NNCF (SPEC P3, P4); see `quantization`."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from vertical_assets.inference import cascade
from vertical_assets.release.predictor import DESCRIPTION, MODEL, TOKENIZER, checksums
from vertical_assets.release.task_predictor import artifact_windows, graph_inputs
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.versions import MANIFEST


class QuantizationError(Exception):
    """A model that can't become an artifact; the message says why and what can be done."""


def quantize_modules(
    checkpoint: Path,
    texts: Sequence[str],
    questions: Sequence[str] | None,
    spec: VerticalSpec,
    out: Path,
    manifest: dict[str, Any],
) -> dict[str, int]:
    """Writes the artifact of a VerticalModel.

    Args:
        checkpoint: directory of a VerticalModel.
        texts: training texts; windows of `quantize.calibration_texts` of them calibrate the
            activations.
        questions: of the texts, for question answering.
        spec: sections `quantize`, `task`.
        out: empty directory.
        manifest: what the artifact is made from; checksums are added.

    Returns:
        Sizes in bytes: `float_bytes` of the checkpoint's weights, `int8_bytes` of the artifact's.

    Raises:
        QuantizationError: the model reads features or terms, which the artifact does not carry.
    """
    import nncf
    import openvino as ov

    from vertical_assets.training.modules.model import VerticalModel

    model = VerticalModel.from_pretrained(checkpoint).eval()
    config = model.config
    if config.feature_widths:
        raise QuantizationError(
            f"the model's modules read {', '.join(config.feature_widths)}, which the INT8 artifact "
            "can't carry yet; release a vertical whose model.modules read the text alone"
        )
    if getattr(config, "keyword_terms", None):
        raise QuantizationError(
            "the encoder attends to terms of the domain, which the INT8 artifact of modules can't "
            "tell it yet; remove model.keyword_attention or model.modules"
        )
    shutil.copyfile(checkpoint / TOKENIZER, out / TOKENIZER)
    cascade.copy(checkpoint, out)
    chain = model.chain
    description = {
        "task": spec.task.name,
        "kind": config.kind,
        "labels": config.labels,
        "max_tokens": config.max_tokens,
        "window_overlap": config.window_overlap,
        "pad_id": int(config.pad_token_id or 0),
        "chain": chain
        and {name: getattr(chain, name).tolist() for name in ("starts", "transitions", "ends")},
    }
    (out / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False, indent=2))
    tokenizer = Tokenizer.from_file(str(out / TOKENIZER))
    step = max(1, len(texts) // spec.quantize.calibration_texts)
    chosen = slice(None, step * spec.quantize.calibration_texts, step)
    asked = None if questions is None else list(questions)[chosen]
    windows = artifact_windows(description, tokenizer, list(texts)[chosen], asked)
    names = graph_inputs(config.kind)
    # One window a sample: no padding reaches the statistics.
    samples = [
        dict(zip(names, windows.padded([row]), strict=False))
        for row in range(min(len(windows.windows), spec.quantize.calibration_texts))
    ]
    quantized = nncf.quantize(
        _graph(model, samples[0], names),
        nncf.Dataset(samples),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(samples),
    )
    ov.save_model(quantized, out / MODEL, compress_to_fp16=False)
    (out / MANIFEST).write_text(
        json.dumps({**manifest, "checksums": checksums(out)}, indent=2, sort_keys=True)
    )
    return {
        "float_bytes": (checkpoint / "model.safetensors").stat().st_size,
        "int8_bytes": sum(
            (out / MODEL).with_suffix(end).stat().st_size for end in (".xml", ".bin")
        ),
    }


def _graph(model: Any, sample: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The model's graph, inputs -> logits, of any batch and length."""
    import openvino as ov
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(
            self,
            input_ids: torch.Tensor,
            attention_mask: torch.Tensor,
            token_type_ids: torch.Tensor | None = None,
        ) -> torch.Tensor:
            logits = self.model(input_ids, attention_mask, token_type_ids).logits
            if not isinstance(logits, torch.Tensor):
                raise TypeError("a model without logits")
            return logits

    with torch.inference_mode():
        graph = ov.convert_model(
            Logits().eval(),
            example_input={name: torch.from_numpy(value) for name, value in sample.items()},
            input=[(name, ov.PartialShape([-1, -1]), ov.Type.i64) for name in names],
        )
    for port, name in zip(graph.inputs, names, strict=True):
        port.get_tensor().set_names({name})
    return graph
