"""The artifact asked, and judged: what INT8 changed against the float model (SPEC P3)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.inference.answers import Answer
from vertical_assets.labels.splits import TEST, Items, items_of
from vertical_assets.labels.targets import targets_of
from vertical_assets.release.engines import cores
from vertical_assets.release.files import DamagedArtifactError, verify
from vertical_assets.release.predictor import Predictor
from vertical_assets.spec import VerticalSpec
from vertical_assets.spec.release import DROPS, Form
from vertical_assets.store.gates import Gate
from vertical_assets.store.versions import MANIFEST

# What INT8 may not make worse, and how it is called.
SCORES = {
    "classification": ("val_f1_macro", "macro F1"),
    "multi_label": ("val_f1_macro", "macro F1"),
    "entities": ("val_span_f1", "span F1"),
    "question_answering": ("val_answer_f1", "answer F1"),
    "regression": ("val_mae", "mean absolute error"),
}
DROP, AGREEMENT, SIZE = DROPS["openvino"], "argmax_agreement", "size_ratio"


class TrialError(Exception):
    """The float model and the artifact have no answers to the same items; the message says why."""


@dataclass(frozen=True)
class Trial:
    """The float model's answers to the test set, and those of one form of the artifact.

    Attributes:
        items: the test set.
        exact: the float model's answers, as `predictions` holds them.
        answers: the form's.
    """

    items: Items
    exact: list[Answer]
    answers: list[Answer]


def other_standard(description: Mapping[str, Any], spec: VerticalSpec) -> str | None:
    """How a released artifact's answers differ from what the label standard asks for now; None
    where they do not.

    Args:
        description: content of artifact.json.
        spec: section `task`.
    """
    kind, labels = description["kind"], description["labels"]
    if (kind, set(labels)) == (spec.task.kind, set(spec.labels)):
        return None
    named = f" with labels {', '.join(labels)}" if labels else ""
    return f"the champion answers a {kind} task{named}: the label standard has changed since"


def answers_by(artifact: Path, items: Items, form: str = "openvino") -> list[Answer]:
    """What an artifact says of items; several batches at a time. Of the same files and texts it is
    asked once in a process: a release reads its gates and its comparison from the same answers.

    Raises:
        DamagedArtifactError: a file is not the one that was released.
    """
    verify(artifact)
    questions = None if items.questions is None else tuple(items.questions)
    manifest = (artifact / MANIFEST).read_text()
    return list(_answers(artifact, manifest, form, tuple(items.texts), questions))


@lru_cache(maxsize=3)  # of a candidate in two forms, and of the champion
def _answers(
    artifact: Path,
    manifest: str,
    form: str,
    texts: tuple[str, ...],
    questions: tuple[str, ...] | None,
) -> list[Answer]:
    """`manifest` holds the checksums of the artifact's files, by which they are told apart."""
    return Predictor(artifact, form, streams=cores()).answers(texts, questions)


def trials_of(
    artifact: Path, predictions: pa.Table, labeled: pa.Table, spec: VerticalSpec
) -> dict[Form, Trial]:
    """Asks an artifact about the test set, in every INT8 form that it has.

    Args:
        artifact: the directory.
        predictions: the float model's answers, of PREDICTIONS.
        labeled: the labelled set.
        spec: `task.kind`, `quantize.forms`.

    Raises:
        FileNotFoundError: the artifact lacks a form.
        DamagedArtifactError: a file of the artifact is not the one that was released.
        TrialError: there is no test item, or the float model was not asked about all of them.
    """
    items = items_of(labeled, TEST)
    kind = spec.task.kind
    said = predictions.filter(pc.equal(predictions["split"], TEST))
    asked = zip(said["item_id"].to_pylist(), said["question"].to_pylist(), strict=True)
    found = dict(zip(asked, targets_of(said, kind, "predicted_"), strict=True))
    questions: Any = items.questions or [None] * len(items.texts)
    keys = list(zip(items.item_ids, questions, strict=True))
    lacking = [item for item, question in keys if (item, question) not in found]
    if lacking or not keys:
        raise TrialError(
            f"predictions lacks {len(lacking)} of {len(keys)} test items, e.g. {lacking[0]}: "
            "materialize predictions again"
            if lacking
            else "labeled_set has no test item; raise split.test"
        )
    exact = [Answer(found[key], None) for key in keys]
    return {
        form: Trial(items, exact, answers_by(artifact, items, form))
        for form in spec.quantize.forms
        if form in DROPS
    }


def judged(trials: Mapping[Form, Trial], sizes: dict[str, int], spec: VerticalSpec) -> list[Gate]:
    """Gates of answers and sizes; see `gates_of`."""
    gates = [_drop_gate(DROPS[form], trial, spec) for form, trial in trials.items()]
    if spec.task.kind != "regression":
        trial = trials["openvino"]
        pairs = zip(trial.exact, trial.answers, strict=True)
        share = sum(a.target == b.target for a, b in pairs) / max(1, len(trial.answers))
        gates.append(
            Gate(
                AGREEMENT,
                share >= spec.quantize.agreement,
                False,
                share,
                spec.quantize.agreement,
                f"{share:.2%} of {len(trial.answers)} answers are equal",
            )
        )
    int8 = sizes["openvino_bytes"]
    ratio = sizes["base_bytes"] / int8
    gates.append(
        Gate(
            SIZE,
            ratio >= spec.quantize.size_ratio,
            False,
            ratio,
            spec.quantize.size_ratio,
            f"{int8 / 1e6:.1f} MB: 1/{ratio:.1f} of the float base as found "
            f"({sizes['base_bytes'] / 1e6:.1f} MB), 1/{sizes['float_bytes'] / int8:.1f} of the "
            f"float model ({sizes['float_bytes'] / 1e6:.1f} MB)",
        )
    )
    return gates


def _drop_gate(name: str, trial: Trial, spec: VerticalSpec) -> Gate:
    from vertical_assets.training.modules.scores import scores

    kind = spec.task.kind
    score, title = SCORES[kind]
    before, after = (
        scores(kind, trial.items.labels, each, spec.labels)[score]
        for each in (trial.exact, trial.answers)
    )
    worse = (after - before) / max(before, 1e-9) if kind == "regression" else before - after
    bar = spec.quantize.max_f1_drop
    why = f"test {title} {before:.4f} in float, {after:.4f} in INT8"
    return Gate(name, worse <= bar, True, worse, bar, why)


def gates_of(
    artifact: Path, predictions: pa.Table, labeled: pa.Table, spec: VerticalSpec
) -> list[Gate]:
    """Verdicts on a stored artifact: the test set is asked again, of the files that are there.

    f1_drop (blocking): the main score on the test set falls by at most `quantize.max_f1_drop`; of
    a regression its error rises by at most this share. onnx_f1_drop (blocking): the same of the
    form for ONNX Runtime, where there is one. argmax_agreement: share of answers that are
    the float model's; none of a regression. size_ratio: how much smaller than the float base.

    Args:
        artifact, predictions, labeled: as stored; see `trials_of`.
        spec: sections `quantize`, `task`.

    Returns:
        The gates; f1_drop alone, failed, where the artifact is damaged or there is no trial.
    """
    try:
        trials = trials_of(artifact, predictions, labeled, spec)
    except (DamagedArtifactError, FileNotFoundError, TrialError) as error:
        return [Gate(DROP, False, True, None, spec.quantize.max_f1_drop, str(error))]
    return judged(trials, json.loads((artifact / MANIFEST).read_text())["sizes"], spec)
