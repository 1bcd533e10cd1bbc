"""One way to make and to ask an artifact, whether it is of a plain classifier or of modules."""

from pathlib import Path
from typing import Any

from vertical_assets.inference.answers import Answer, class_answers
from vertical_assets.labels.splits import Items
from vertical_assets.release.predictor import Predictor
from vertical_assets.release.quantization import quantize
from vertical_assets.release.task_predictor import TaskPredictor, has_modules
from vertical_assets.release.task_quantization import quantize_modules
from vertical_assets.spec import VerticalSpec


def make_artifact(
    checkpoint: Path, train_set: Items, spec: VerticalSpec, out: Path, manifest: dict[str, Any]
) -> dict[str, int]:
    """Writes the INT8 artifact of a fine-tuned checkpoint of any kind; see `quantize`.

    Raises:
        QuantizationError: the model can't become an artifact.
    """
    from vertical_assets.training.answering import is_vertical

    texts = train_set.texts
    if is_vertical(checkpoint):
        return quantize_modules(checkpoint, texts, train_set.questions, spec, out, manifest)
    return quantize(checkpoint, texts, spec, out, manifest)


def answers_by(artifact: Path, items: Items) -> list[Answer]:
    """What an artifact says of items."""
    if has_modules(artifact):
        return TaskPredictor(artifact).answers(items.texts, items.questions)
    predictor = Predictor(artifact)
    return class_answers(predictor.probabilities(items.texts), predictor.labels)
