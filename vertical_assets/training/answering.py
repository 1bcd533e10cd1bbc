"""What a fine-tuned checkpoint says of texts, for every kind of task."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from vertical_assets.batching import INFERENCE_TOKENS, in_order
from vertical_assets.inference.answers import (
    Answer,
    answers_of,
    class_answers,
    label_answers,
    sigmoid,
    softmax,
)
from vertical_assets.inference.cascade import cascaded, first_stage
from vertical_assets.spec import VerticalSpec
from vertical_assets.training.classification import predict_probabilities
from vertical_assets.training.embeddings import States, embeddings
from vertical_assets.training.finetuning import model_inputs, unpadded
from vertical_assets.training.modules.data import Inputs, VectorSource, inputs_of
from vertical_assets.training.modules.model import VerticalModel, is_vertical
from vertical_assets.training.predictions import (
    predictions_of,
    predictions_table,
    with_embeddings,
)

FEATURES = "features"  # folder of a checkpoint: the features that its modules read
# Module and class of each feature; loaded only where a model reads it.
CLASSES = {
    "tfidf": ("vertical_assets.features.tfidf", "Tfidf"),
    "word_vectors": ("vertical_assets.features.word_vectors", "WordVectors"),
}


def open_features(directories: Mapping[str, Path]) -> dict[str, VectorSource]:
    """Features by name, from their directories."""
    found: dict[str, VectorSource] = {}
    for name, directory in directories.items():
        module, kind = CLASSES[name]
        found[name] = getattr(import_module(module), kind).load(directory)
    return found


def keep_features(checkpoint: Path, directories: Mapping[str, Path]) -> None:
    """Copies what the modules read into the checkpoint, so that it answers by itself."""
    for name, directory in directories.items():
        shutil.copytree(directory, checkpoint / FEATURES / name)


def predict(
    checkpoint: Path,
    texts: Sequence[str],
    spec: VerticalSpec,
    questions: Sequence[str] | None = None,
    sources: Mapping[str, VectorSource] | None = None,
    budget: int = INFERENCE_TOKENS,
) -> list[Answer]:
    """An answer per text, as the vertical gives it: with the cascade, where there is one.

    Args:
        checkpoint: directory of `finetuned_ckpt`.
        texts: whole texts; of entities and question answering nothing is cut off.
        spec: sections `model`, `task`.
        questions: one per text, for question answering.
        sources: features in memory; by default those that the checkpoint holds.
        budget: tokens of a batch.
    """
    kind, labels = spec.task.kind, spec.labels
    if kind in ("classification", "multi_label"):
        found = label_probabilities(checkpoint, texts, spec, sources, budget)
        return (class_answers if kind == "classification" else label_answers)(found, labels)
    model, inputs = _opened(checkpoint, texts, questions, sources)
    logits = outputs(model, inputs, budget)
    return answers_of(kind, labels, logits, inputs.windows, len(texts), model.chain)


def predicted_table(checkpoint: Path, held: pa.Table, spec: VerticalSpec) -> pa.Table:
    """PREDICTIONS of LABELED items with their embeddings, of every kind of task; arguments as in
    `predict`.
    """
    kind, texts = spec.task.kind, held["text"].to_pylist()
    if kind in ("classification", "multi_label"):
        states = States() if texts and first_stage(checkpoint) is None else None
        found = label_probabilities(checkpoint, texts, spec, states=states)
        vectors = states.vectors if states else embeddings(checkpoint, texts, spec)
        return with_embeddings(predictions_table(held, found, spec.labels, kind), vectors)
    questions = held["question"].to_pylist() if kind == "question_answering" else None
    answers = predict(checkpoint, texts, spec, questions)
    table = predictions_of(
        held, kind, [each.target for each in answers], [each.confidence for each in answers]
    )
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    distinct = embeddings(checkpoint, list(places), spec)
    return with_embeddings(table, distinct[[places[text] for text in texts]])


def label_probabilities(
    checkpoint: Path,
    texts: Sequence[str],
    spec: VerticalSpec,
    sources: Mapping[str, VectorSource] | None = None,
    budget: int = INFERENCE_TOKENS,
    with_cascade: bool = True,
    states: States | None = None,
) -> np.ndarray:
    """Probabilities, texts x labels, of a classification or a multi-label task.

    Args:
        checkpoint, texts, spec, sources, budget: see `predict`.
        with_cascade: whether the first stage answers what it is sure of; else the network all.
        states: looks on while the network reads the texts; without a cascade only, where it reads
            them all.
    """

    def network(some: Sequence[str]) -> np.ndarray:
        if not is_vertical(checkpoint):
            return predict_probabilities(checkpoint, list(some), spec, budget, states)
        model, inputs = _opened(checkpoint, some, None, sources)
        logits = np.stack(outputs(model, inputs, budget, states))
        return (softmax if spec.task.kind == "classification" else sigmoid)(logits)

    if not len(texts):
        return np.zeros((0, len(spec.labels)))
    return cascaded(first_stage(checkpoint) if with_cascade else None, texts, network)


@torch.inference_mode()
def outputs(
    model: VerticalModel, inputs: Inputs, budget: int, states: States | None = None
) -> list[np.ndarray]:
    """Logits of every window, without padding; `states` looks on."""
    model.eval()
    found: dict[int, np.ndarray] = {}
    batches = in_order(inputs.windows.lengths, budget)
    with states.watching(model.encoder, batches) if states else nullcontext():
        for rows in batches:
            batch = inputs.batch(rows)
            found |= unpadded(model(**model_inputs(batch)).logits, batch)
    return [found[row] for row in range(len(found))]


def _opened(
    checkpoint: Path,
    texts: Sequence[str],
    questions: Sequence[str] | None,
    sources: Mapping[str, VectorSource] | None,
) -> tuple[VerticalModel, Inputs]:
    from transformers import AutoTokenizer

    model = VerticalModel.from_pretrained(checkpoint)
    config = model.config
    if sources is None:
        folders = {name: checkpoint / FEATURES / name for name in config.feature_widths or {}}
        sources = open_features(folders)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint).backend_tokenizer
    return model, inputs_of(config.kind, texts, questions, tokenizer, config, sources)
