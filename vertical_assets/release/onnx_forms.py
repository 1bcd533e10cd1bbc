"""ONNX: the network for ONNX Runtime in dynamic INT8, and in float for TensorRT (SPEC P3, P4).

`quantize.forms: [openvino, tensorrt]` leaves `tensorrt/model.onnx` in the artifact: opset 18,
float, dynamic axes `rows` and `tokens`. An engine is built from it on the machine that serves,
because TensorRT's engines belong to one GPU and one version of it:

    trtexec --onnx=tensorrt/model.onnx --saveEngine=model.plan --fp16 \\
        --minShapes=input_ids:1x1,attention_mask:1x1 \\
        --optShapes=input_ids:32x32,attention_mask:32x32 \\
        --maxShapes=input_ids:64x<max_tokens>,attention_mask:64x<max_tokens>

with every further input of artifact.json (`token_type_ids`, features as rows x width) in the three
shapes too. `trtexec_command` spells it out for an artifact. What is checked here is that the file
is valid ONNX (onnx.checker, full) and that ONNX Runtime gives the float model's answers with it on
a CPU; TensorRT itself is never run: neither that it takes every operator nor its half precision is
checked. Dynamic INT8 (MatMulInteger) is no format of TensorRT's, hence float.
"""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from vertical_assets.release.engines import Batch, OnnxEngine
from vertical_assets.release.files import TENSORRT
from vertical_assets.release.networks import Network, QuantizationError, tensors
from vertical_assets.release.predictor import TOKENS

OPSET = 18  # what torch's exporter writes without conversion; TensorRT 10 reads up to 22
OUTPUT = "logits"
TOLERANCE = 1e-3  # of the largest logit: float arithmetic in another order
ROWS, WIDTH = "rows", "tokens"
# Weights of these become 8-bit; of embeddings too (Gather).
QUANTIZED = ("MatMul", "Gemm", "Gather")


def export_onnx(network: Network, samples: Sequence[Batch], out: Path) -> None:
    """Writes the float network as one ONNX file of any number of rows and tokens, and checks it.

    Args:
        network: in evaluation mode.
        samples: inputs of single windows; two of them are what it is exported with.
        out: the file.

    Raises:
        QuantizationError: torch can't export the model, or ONNX Runtime gives other logits.
    """
    example = _two_rows(samples)
    rows, width = torch.export.Dim(ROWS), torch.export.Dim(WIDTH)
    shapes = {name: {0: rows, 1: width} if name in TOKENS else {0: rows} for name in example}
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # operators of libraries that are not installed
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # torch's own
            torch.onnx.export(
                network,
                (),
                out,
                kwargs=tensors(example),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=list(example),
                output_names=[OUTPUT],
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise QuantizationError(
            "torch can't write this model as ONNX (a BiLSTM, for one); leave 'onnx' and "
            "'tensorrt' out of 'quantize.forms'"
        ) from error
    finally:
        log.setLevel(level)
    onnx.checker.check_model(out, full_check=True)
    with torch.inference_mode():
        expected = network(**tensors(example)).numpy()
    found = OnnxEngine(out).run([example])[0]
    off = float(np.abs(found - expected).max())
    if not off <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise QuantizationError(
            f"the ONNX file answers otherwise than the model, by {off:.3g}; leave 'onnx' and "
            "'tensorrt' out of 'quantize.forms'"
        )


def dynamic_int8(source: Path, out: Path) -> None:
    """ONNX Runtime's dynamic quantization: weights per channel, activations as they come."""
    log = logging.getLogger()
    level = log.level
    log.setLevel(logging.ERROR)  # "consider pre-processing", which fails on dynamic shapes
    try:
        quantize_dynamic(
            source,
            out,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=list(QUANTIZED),
        )
    finally:
        log.setLevel(level)


def trtexec_command(description: dict[str, Any], rows: int = 32, tokens: int = 32) -> str:
    """The command that builds a TensorRT engine from `tensorrt/model.onnx`.

    Args:
        description: content of artifact.json.
        rows, tokens: the batch that the engine is made fastest for; twice the rows at most.
    """
    most = description["max_tokens"]
    inputs, widths = description["inputs"], description["feature_widths"]

    def shapes(height: int, length: int) -> str:
        return ",".join(
            f"{name}:{height}x{length if name in TOKENS else widths[name]}" for name in inputs
        )

    return " ".join(
        [
            f"trtexec --onnx={TENSORRT} --saveEngine=model.plan --fp16",
            f"--minShapes={shapes(1, 1)}",
            f"--optShapes={shapes(rows, min(tokens, most))}",
            f"--maxShapes={shapes(2 * rows, most)}",
        ]
    )


def _two_rows(samples: Sequence[Batch]) -> Batch:
    """The longest sample twice: dimensions of one would be taken for constants."""
    longest = max(samples, key=lambda sample: sample["input_ids"].shape[1])
    return {name: np.repeat(values, 2, axis=0) for name, values in longest.items()}
