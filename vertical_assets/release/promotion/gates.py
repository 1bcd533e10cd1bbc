"""Every gate of a model, read again from what is stored (SPEC O3).

An asset check is a record of one run, and a person can materialize anything by hand. What is
released is judged here by the same functions that the reports are judged by, on the tables and
files as they lie in the store; the records are read as well, and a failed one is enough to refuse.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from vertical_assets.evaluation import metrics
from vertical_assets.evaluation.errors import slices
from vertical_assets.evaluation.robustness import report as robustness
from vertical_assets.labels.adjudication.verdicts import gate_of
from vertical_assets.labels.splits import find_leakage
from vertical_assets.release import artifacts
from vertical_assets.release.promotion.frozen import frozen_test, leaked, trained_on
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.gates import Gate

LEAKAGE, SAME, IN_STEP, RECORDED = "no_leakage", "same_model", "in_step", "recorded"


@dataclass(frozen=True)
class Verdict:
    """A gate, and which asset it is about."""

    subject: str
    gate: Gate


@dataclass(frozen=True)
class Stored:
    """What a model is judged by, as it is stored.

    Attributes:
        artifact: directory of `quantized_artifact`.
        artifact_manifest, model_manifest: of `quantized_artifact` and `finetuned_ckpt`.
        versions: asset -> current data version, of everything below.
        predictions, evaluation, robustness, slices, agreement, verdicts, labeled: tables of
            `predictions`, `eval_report`, `robustness_report`, `slices`, `agreement_report`,
            `batch_verdicts`, `labeled_set`.
    """

    artifact: Path
    artifact_manifest: Mapping[str, Any]
    model_manifest: Mapping[str, Any]
    versions: Mapping[str, str]
    predictions: pa.Table
    evaluation: pa.Table
    robustness: pa.Table
    slices: pa.Table
    agreement: pa.Table
    verdicts: pa.Table
    labeled: pa.Table


def verdicts_of(stored: Stored, spec: VerticalSpec) -> list[Verdict]:
    """The verdicts of all reports, of the labels and of the artifact, computed anew.

    Args:
        stored: the tables and files.
        spec: sections `agreement`, `dedup`, `evaluate`, `promote`, `quantize`, `task`.
    """
    labeled = stored.labeled
    found = {
        "agreement_report": [gate_of(stored.agreement, stored.verdicts, spec)],
        "labeled_set": [leakage_gate(labeled, spec)],
        "quantized_artifact": [
            same_model(stored),
            *artifacts.gates_of(stored.artifact, stored.predictions, labeled, spec),
        ],
        "eval_report": metrics.gates_of(stored.evaluation, spec),
        "robustness_report": robustness.gates_of(stored.robustness, spec),
        "slices": slices.gates_of(stored.slices, spec),
    }
    return [
        Verdict(subject, as_set(gate, spec)) for subject, gates in found.items() for gate in gates
    ]


def as_set(gate: Gate, spec: VerticalSpec) -> Gate:
    """The gate as `promote.gates` and `promote.waived` want it; the verdict stays what it is."""
    if gate.gate in spec.promote.waived:
        return replace(gate, blocking=False, why=f"{gate.why}; waived by promote.waived")
    return replace(gate, blocking=gate.blocking or gate.gate in spec.promote.gates)


def leakage_gate(labeled: pa.Table, spec: VerticalSpec) -> Gate:
    """No test item, its group, its text or a near duplicate stands in another split.

    Args:
        labeled: LABELED.
        spec: sections `dedup`, `language`.
    """
    seen = int(leaked(frozen_test(labeled), trained_on(labeled)).sum())
    between = find_leakage(labeled, spec)
    why = (
        f"{seen} test items stand in training or validation too; between any two splits: "
        f"{between.same_group} groups, {between.exact} texts, {between.near} near duplicates"
    )
    total = seen + between.total
    return Gate(LEAKAGE, total == 0, True, float(total), 0.0, why)


def same_model(stored: Stored) -> Gate:
    """The artifact is of the present model, and both are of the present labels: else the present
    test set may be what the model was trained on.
    """
    made = [
        ("quantized_artifact", stored.artifact_manifest, "finetuned_ckpt"),
        ("quantized_artifact", stored.artifact_manifest, "labeled_set"),
        ("finetuned_ckpt", stored.model_manifest, "labeled_set"),
    ]
    wrong = [
        f"{asset} is of another {above}"
        for asset, manifest, above in made
        if manifest.get("inputs", {}).get(above) != stored.versions[above]
    ]
    why = (
        f"{'; '.join(wrong)}: build again"
        if wrong
        else "artifact, model and labels belong together"
    )
    return Gate(SAME, not wrong, True, None, None, why)


def in_step(made_from: Mapping[str, Mapping[str, str] | None], versions: Mapping[str, str]) -> Gate:
    """Every report is of the present results: one that was left behind judges another model.

    Args:
        made_from: asset -> the versions of its inputs when it was made, by asset; None where
            nothing is recorded.
        versions: asset -> current data version.
    """
    behind = [
        f"nothing says what {name} was made from" for name, of in made_from.items() if of is None
    ]
    behind += [
        f"{name} is of another {above}"
        for name, of in made_from.items()
        for above, version in sorted((of or {}).items())
        if above in versions and versions[above] != version
    ]
    why = f"{'; '.join(behind)}: build again" if behind else "all reports are of the present model"
    return Gate(IN_STEP, not behind, True, float(len(behind)), 0.0, why)


def recorded_verdicts(failures: Iterable[tuple[str, str, str]]) -> list[Verdict]:
    """Failed blocking checks that are on record.

    Args:
        failures: asset, check, reason.
    """
    return [
        Verdict(asset, Gate(f"{RECORDED}:{name}", False, True, None, None, f"on record: {reason}"))
        for asset, name, reason in failures
    ]
