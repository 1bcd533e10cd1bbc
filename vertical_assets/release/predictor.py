"""The artifact at work: tokenizers, OpenVINO or ONNX Runtime, NumPy; no torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from vertical_assets.batching import in_order
from vertical_assets.corpus.cleaning.terms import Terms
from vertical_assets.inference.answers import Answer, answers_of, class_answers, softmax
from vertical_assets.inference.cascade import cascaded, first_stage
from vertical_assets.inference.chain import Chain
from vertical_assets.inference.interfaces import message
from vertical_assets.inference.windows import Windows, single_windows, windows_of
from vertical_assets.release.engines import Batch, open_engine, stacked
from vertical_assets.release.feature_inputs import FeatureInputs
from vertical_assets.release.files import (
    DESCRIPTION,
    FORMAT,
    TOKENIZER,
    DamagedArtifactError,
    verify,
)

TOKENS = ("input_ids", "attention_mask", "token_type_ids")
WINDOWED = ("entities", "question_answering")
TOKENS_PER_BATCH = 512  # more leaves the caches: a fifth slower at 2,048 with MiniLM


class Inputs:
    """From texts to the inputs of an artifact's network, as its description says.

    Args:
        description: content of artifact.json.
        artifact: the directory, for tokenizer and features.
    """

    def __init__(self, description: dict[str, Any], artifact: Path) -> None:
        self.description = description
        self.tokenizer = Tokenizer.from_file(str(artifact / TOKENIZER))
        self.terms = Terms(description["keyword_terms"])
        self.tokens = [name for name in TOKENS if name in description["inputs"]]
        self.features = FeatureInputs.load(
            artifact, [name for name in description["inputs"] if name not in TOKENS]
        )

    def windows(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> Windows:
        """Texts as token ids; of entities and question answering nothing is cut off."""
        said = self.description
        most, pad = said["max_tokens"], said["pad_id"]
        if said["kind"] in WINDOWED:
            return windows_of(
                texts, self.tokenizer, pad, most, said["window_overlap"], questions, self.terms
            )
        return single_windows(texts, self.tokenizer, pad, most, self.terms)

    def batch(self, windows: Windows, features: dict[str, np.ndarray], rows: np.ndarray) -> Batch:
        """Inputs by name, of some windows; `features` are of the texts."""
        values = dict(zip(TOKENS, windows.padded(rows), strict=True))
        items = windows.items[rows]
        return {name: values[name] for name in self.tokens} | {
            name: vectors[items] for name, vectors in features.items()
        }


class Predictor:
    """Opens an artifact after checking every file against its checksum.

    Args:
        directory: the artifact.
        form: openvino | onnx.
        streams: see `OpenVinoEngine`.

    Raises:
        DamagedArtifactError: a file is not the one that was released, or of another format.
        FileNotFoundError: the artifact has no such form.
    """

    def __init__(self, directory: Path, form: str = "openvino", streams: int = 1) -> None:
        verify(directory)
        self.description: dict[str, Any] = json.loads((directory / DESCRIPTION).read_text())
        if (found := self.description.get("format")) != FORMAT:
            raise DamagedArtifactError(
                f"{directory / DESCRIPTION} is of format {found}, and {FORMAT} is what is read "
                "here: build the artifact again"
            )
        self.task: str = self.description["task"]
        self.kind: str = self.description["kind"]
        self.labels: list[str] = self.description["labels"]
        scores = self.description["chain"]
        self.chain = scores and Chain(
            *(np.array(scores[name]) for name in ("starts", "transitions", "ends"))
        )
        self.first_stage = first_stage(directory)
        self.inputs = Inputs(self.description, directory)
        self._engine = open_engine(directory, form, streams)

    def answers(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> list[Answer]:
        """An answer per text; of entities and question answering nothing is cut off.

        Raises:
            ValueError: question answering without questions.
        """
        if self.kind == "question_answering" and questions is None:
            raise ValueError("question answering needs a question for every text")
        if not len(texts):
            return []
        if self.kind == "classification":
            return class_answers(self.probabilities(texts), self.labels)
        windows = self.inputs.windows(texts, questions)
        logits = self._outputs(windows, texts)
        return answers_of(self.kind, self.labels, logits, windows, len(texts), self.chain)

    def predict(
        self, texts: Sequence[str], questions: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """One mapping per text, of the form that the kind's interface describes (SPEC M9)."""
        return [message(self.kind, each).model_dump() for each in self.answers(texts, questions)]

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Of a classification: probabilities, texts x labels; of the first stage where a cascade's
        is sure (SPEC M8).
        """
        return cascaded(self.first_stage, texts, self.network_probabilities)

    def network_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """The same of the network alone."""
        logits = self._outputs(self.inputs.windows(texts), texts)
        return softmax(stacked(logits, len(self.labels)))

    def _outputs(self, windows: Windows, texts: Sequence[str]) -> list[np.ndarray]:
        """Logits of every window, without padding; windows of similar length go together."""
        features, lengths = self.inputs.features.of(texts), windows.lengths
        batches = in_order(lengths, TOKENS_PER_BATCH) if len(lengths) else []
        outputs = self._engine.run(self.inputs.batch(windows, features, rows) for rows in batches)
        found: dict[int, np.ndarray] = {}
        for rows, values in zip(batches, outputs, strict=True):
            for row, value in zip(rows.tolist(), values, strict=True):
                found[row] = value[: lengths[row]] if values.ndim == 3 else value
        return [found[row] for row in range(len(found))]
