"""The artifact: a fine-tuned checkpoint in INT8 with all that answers need (SPEC P3, P4).

The engine is OpenVINO with NNCF's post-training quantization, calibrated on training texts: see
`benchmarks/quantisation.py` for what it was measured against. ONNX Runtime's dynamic INT8 and an
ONNX file for TensorRT are made where `quantize.forms` names them (`onnx_forms`).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vertical_assets.labels.splits import Items
from vertical_assets.release.engines import Batch
from vertical_assets.release.files import (
    DESCRIPTION,
    LICENCES,
    ONNX,
    OPENVINO,
    TENSORRT,
    checksums,
    size_of,
)
from vertical_assets.release.networks import Network, open_network, to_openvino
from vertical_assets.release.predictor import Inputs
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.release import Quantize
from vertical_assets.store.versions import MANIFEST

if TYPE_CHECKING:
    import openvino as ov

FLOAT_WEIGHTS = "model.safetensors"
# Of 4-bit embeddings: values that share a scale. On `medical` 98.4 % of answers stay the same with
# 32, 98.1 % with 64, for 2 % less size.
GROUP = 32


def quantize(
    checkpoint: Path,
    train_set: Items,
    spec: VerticalSpec,
    out: Path,
    manifest: Mapping[str, Any],
    licences: Sequence[Mapping[str, str]] = (),
    base_bytes: int | None = None,
) -> dict[str, int]:
    """Writes the artifact of a fine-tuned checkpoint of any kind.

    Args:
        checkpoint: directory of `finetuned_ckpt`.
        train_set: `quantize.calibration_texts` of its texts, evenly spread, calibrate.
        spec: sections `quantize`, `model`, `task`.
        out: empty directory.
        manifest: what the artifact is made from; sizes and checksums are added.
        licences: rows for licences.json.
        base_bytes: float weights of the base model as it was found, before its vocabulary was
            pruned and its layers were cut.

    Returns:
        Sizes in bytes: `base_bytes`, `float_bytes` of the checkpoint's weights, and of the model
        files of each form, as `openvino_bytes`.

    Raises:
        QuantizationError: the model can't become an artifact.
    """
    import openvino as ov

    settings = spec.quantize
    exported = open_network(checkpoint, spec, out)
    description = {**exported.description, "forms": list(settings.forms)}
    samples = calibration(Inputs(description, out), train_set, settings.calibration_texts)
    network = exported.network
    if "openvino" in settings.forms:
        graph = quantized_graph(network, samples, settings)
        # What stays unquantized stays as it was trained: no 16-bit floats.
        ov.save_model(graph, out / OPENVINO, compress_to_fp16=False)
    if "onnx" in settings.forms or "tensorrt" in settings.forms:
        from vertical_assets.release.onnx_forms import dynamic_int8, export_onnx

        float_file = out / TENSORRT
        float_file.parent.mkdir()
        export_onnx(network, samples, float_file)
        if "onnx" in settings.forms:
            dynamic_int8(float_file, out / ONNX)
        if "tensorrt" not in settings.forms:
            float_file.unlink()
            float_file.parent.rmdir()
    (out / DESCRIPTION).write_text(json.dumps(description, ensure_ascii=False, indent=2))
    (out / LICENCES).write_text(json.dumps(list(licences), ensure_ascii=False, indent=2))
    float_bytes = (checkpoint / FLOAT_WEIGHTS).stat().st_size
    sizes = {"base_bytes": base_bytes or float_bytes, "float_bytes": float_bytes}
    sizes |= {f"{form}_bytes": size_of(out, form) for form in settings.forms}
    described = {**manifest, "sizes": sizes, "checksums": checksums(out)}
    (out / MANIFEST).write_text(json.dumps(described, indent=2, sort_keys=True))
    return sizes


def calibration(inputs: Inputs, items: Items, wanted: int) -> list[Batch]:
    """Inputs of single windows of evenly spread texts: no padding reaches the statistics."""
    chosen = _spread(len(items.texts), wanted)
    texts = [items.texts[row] for row in chosen]
    asked = None if items.questions is None else [items.questions[row] for row in chosen]
    windows = inputs.windows(texts, asked)
    features = inputs.features.of(texts)
    return [
        inputs.batch(windows, features, np.array([row]))
        for row in _spread(len(windows.windows), wanted)
    ]


def _spread(rows: int, wanted: int) -> list[int]:
    """So many rows from the first to the last; all where there are no more."""
    return np.linspace(0, rows - 1, min(rows, wanted)).astype(int).tolist()


def quantized_graph(network: Network, samples: Sequence[Batch], settings: Quantize) -> "ov.Model":
    """The network in INT8: weights per channel, activations calibrated, by NNCF.

    SmoothQuant (Xiao et al. 2022) moves the activations' outliers into the weights by the share
    `smooth_quant`; fast bias correction takes the mean error out of each layer.

    Args:
        network: float, in evaluation mode.
        samples: what calibrates.
        settings: section `quantize`.
    """
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        AdvancedSmoothQuantParameters,
    )

    graph = to_openvino(network, _longest(samples))
    tables = [word_table(graph)] if settings.embeddings == "int4" else []
    graph = nncf.quantize(
        graph,
        nncf.Dataset(list(samples)),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(samples),
        ignored_scope=nncf.IgnoredScope(names=[*tables, head(graph)]),
        advanced_parameters=AdvancedQuantizationParameters(
            smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=settings.smooth_quant)
        ),
    )
    return in_four_bits(graph, tables[0]) if tables else graph


def head(graph: "ov.Model") -> str:
    """Name of the last matrix product, the task's head: hardly any work, and it stays float.

    Quantized and smoothed, its rows depended on the others of their batch (OpenVINO 2026.4 on a
    CPU): the answer to a text changed with its company.
    """
    products = [
        operation.get_friendly_name()
        for operation in graph.get_ordered_ops()
        if operation.get_type_name() == "MatMul"
    ]
    return products[-1]


def word_table(graph: "ov.Model") -> str:
    """Name of the look-up in the largest table of a graph: the embeddings of the vocabulary."""
    tables = {}
    for operation in graph.get_ordered_ops():
        if operation.get_type_name() == "Gather":
            table = operation.input_value(0).get_node()
            if table.get_type_name() == "Constant" and len(table.get_output_shape(0)) == 2:
                name = operation.get_friendly_name()
                tables[name] = int(np.prod(table.get_output_shape(0)))
    return max(tables, key=lambda name: tables[name])


def in_four_bits(graph: "ov.Model", table: str) -> "ov.Model":
    """The graph with one table in 4 bits with a zero point, in groups of GROUP values of a row.

    Args:
        graph: the table's look-up is not quantized.
        table: name of the look-up.
    """
    import nncf

    others = [
        operation.get_friendly_name()
        for operation in graph.get_ordered_ops()
        if operation.get_type_name() in ("Gather", "MatMul")
    ]
    others.remove(table)
    node = next(each for each in graph.get_ordered_ops() if each.get_friendly_name() == table)
    width = node.input_value(0).get_node().get_output_shape(0)[1]
    return nncf.compress_weights(
        graph,
        mode=nncf.CompressWeightsMode.INT4_ASYM,
        group_size=GROUP if width % GROUP == 0 else -1,  # -1: a scale per row
        ratio=1.0,
        all_layers=True,  # embeddings too
        ignored_scope=nncf.IgnoredScope(names=others),
    )


def _longest(samples: Sequence[Batch]) -> Batch:
    """What traces: a shape of one token would be taken for a constant."""
    return max(samples, key=lambda sample: sample["input_ids"].shape[1])
