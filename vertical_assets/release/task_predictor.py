"""The artifact of a model with modules at work: windows, OpenVINO and decoding; no torch.

The directory is that of `predictor`; `artifact.json` also names the kind of the task, how windows
overlap, which inputs the graph has and, for entities, the scores of the CRF.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from vertical_assets.batching import in_order
from vertical_assets.inference.answers import (
    Answer,
    answers_of,
    class_answers,
    softmax,
)
from vertical_assets.inference.cascade import cascaded, first_stage
from vertical_assets.inference.chain import Chain
from vertical_assets.inference.interfaces import message
from vertical_assets.inference.windows import Windows, single_windows, windows_of
from vertical_assets.release.predictor import (
    DESCRIPTION,
    INPUTS,
    MODEL,
    TOKENIZER,
    TOKENS_PER_BATCH,
    verify,
)

TYPES = "token_type_ids"  # a third input, of models that read question and text
WINDOWED = ("entities", "question_answering")


def has_modules(directory: Path) -> bool:
    """Whether an artifact is of a model with modules, for `TaskPredictor`; else for `Predictor`."""
    return "kind" in json.loads((directory / DESCRIPTION).read_text())


def graph_inputs(kind: str) -> tuple[str, ...]:
    """Names of the inputs of a kind's graph."""
    return (*INPUTS, TYPES) if kind == "question_answering" else INPUTS


def artifact_windows(
    description: dict[str, Any],
    tokenizer: Tokenizer,
    texts: Sequence[str],
    questions: Sequence[str] | None = None,
) -> Windows:
    """Windows of texts as an artifact's description wants them."""
    most, pad = description["max_tokens"], description["pad_id"]
    if description["kind"] in WINDOWED:
        return windows_of(texts, tokenizer, pad, most, description["window_overlap"], questions)
    return single_windows(texts, tokenizer, pad, most)


class TaskPredictor:
    """Opens an artifact after checking every file against its checksum."""

    def __init__(self, directory: Path) -> None:
        import openvino as ov

        verify(directory)
        self.description: dict[str, Any] = json.loads((directory / DESCRIPTION).read_text())
        self.task: str = self.description["task"]
        self.kind: str = self.description["kind"]
        self.labels: list[str] = self.description["labels"]
        self.tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
        scores = self.description["chain"]
        self.chain = scores and Chain(
            *(np.array(scores[name]) for name in ("starts", "transitions", "ends"))
        )
        self.first_stage = first_stage(directory)
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        self._request = (
            ov.Core().compile_model(directory / MODEL, "CPU", settings).create_infer_request()
        )

    def answers(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> list[Answer]:
        """An answer per text; of entities and question answering nothing is cut off.

        Raises:
            ValueError: question answering without questions.
        """
        if not len(texts):
            return []
        if self.kind == "question_answering" and questions is None:
            raise ValueError("question answering needs a question for every text")
        if self.kind == "classification":
            return class_answers(cascaded(self.first_stage, texts, self._shares), self.labels)
        windows = artifact_windows(self.description, self.tokenizer, texts, questions)
        logits = self._outputs(windows)
        return answers_of(self.kind, self.labels, logits, windows, len(texts), self.chain)

    def predict(
        self, texts: Sequence[str], questions: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """One mapping per text, of the form that `interface.json` describes."""
        return [message(self.kind, each).model_dump() for each in self.answers(texts, questions)]

    def _shares(self, texts: Sequence[str]) -> np.ndarray:
        windows = artifact_windows(self.description, self.tokenizer, texts)
        return softmax(np.stack(self._outputs(windows)))

    def _outputs(self, windows: Windows) -> list[np.ndarray]:
        """Logits of every window, without padding."""
        found: dict[int, np.ndarray] = {}
        names, lengths = graph_inputs(self.kind), windows.lengths
        for rows in in_order(lengths, TOKENS_PER_BATCH):
            batch = dict(zip((*INPUTS, TYPES), windows.padded(rows), strict=True))
            values = self._request.infer({name: batch[name] for name in names})[0]
            for row, value in zip(rows.tolist(), values, strict=True):
                found[row] = np.array(value[: lengths[row]] if values.ndim == 3 else value)
        return [found[row] for row in range(len(found))]
