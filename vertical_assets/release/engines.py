"""Engines: what computes an artifact's network, OpenVINO or ONNX Runtime, behind one interface."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vertical_assets.release.files import ONNX, OPENVINO, WEIGHTS

Batch = dict[str, np.ndarray]


class Engine(Protocol):
    """A compiled network."""

    def run(self, batches: Iterable[Batch]) -> list[np.ndarray]:
        """The output of every batch, in order."""


class OpenVinoEngine:
    """OpenVINO on the CPU.

    Args:
        model: model.xml.
        streams: batches that are computed at the same time, each on its share of the cores. One
            answers a single request soonest; one per core takes the least time for many.
    """

    def __init__(self, model: Path, streams: int = 1) -> None:
        import openvino as ov

        settings: dict[str, Any] = {
            # Float where not INT8: bf16 would be chosen on some processors, and change answers.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        }
        if streams > 1:
            settings["NUM_STREAMS"] = streams
        compiled = ov.Core().compile_model(model, "CPU", settings)
        self._request = compiled.create_infer_request() if streams == 1 else None
        self._queue = None if streams == 1 else ov.AsyncInferQueue(compiled, streams)

    def run(self, batches: Iterable[Batch]) -> list[np.ndarray]:
        if self._request is not None:
            return [np.array(self._request.infer(batch)[0]) for batch in batches]
        found: dict[int, np.ndarray] = {}

        def keep(request: Any, number: int) -> None:
            found[number] = np.array(request.get_output_tensor(0).data)

        queue: Any = self._queue
        queue.set_callback(keep)
        for number, batch in enumerate(batches):
            queue.start_async(batch, number)
        queue.wait_all()
        return [found[number] for number in range(len(found))]


class OnnxEngine:
    """ONNX Runtime on the CPU.

    Args:
        model: model.onnx.
        threads: of one batch; by default one per core.
    """

    def __init__(self, model: Path, threads: int = 0) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, batches: Iterable[Batch]) -> list[np.ndarray]:
        return [self._session.run(None, batch)[0] for batch in batches]


def open_engine(directory: Path, form: str, streams: int = 1) -> Engine:
    """The engine for a form of an artifact's network.

    Raises:
        FileNotFoundError: the artifact has no such form.
    """
    missing = [name for name in WEIGHTS[form] if not (directory / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"the artifact {directory} has no {missing[0]}; name {form!r} under 'quantize.forms' "
            "and build it again"
        )
    if form == "openvino":
        return OpenVinoEngine(directory / OPENVINO, streams)
    return OnnxEngine(directory / ONNX)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def stacked(logits: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Rows x width; no row where there is none."""
    return np.stack(logits) if len(logits) else np.zeros((0, width), np.float32)
