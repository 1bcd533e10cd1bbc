"""The model card: README.md of a release, made from what is stored (Mitchell et al. 2019, "Model
Cards for Model Reporting").
"""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from vertical_assets.evaluation.errors.slices import worst_of
from vertical_assets.evaluation.metrics import figures_of
from vertical_assets.evaluation.names import FINETUNED, MAIN_METRIC, TITLES
from vertical_assets.evaluation.pages import comparison as side_by_side
from vertical_assets.labels.cards import (
    CATEGORIES,
    SIMULATED,
    agreement_lines,
    card_of,
    definitions,
    licence_id,
    package_versions,
    pairs,
    privacy_lines,
    sources_table,
    table,
)
from vertical_assets.labels.splits import TEST, TRAIN, VALIDATION
from vertical_assets.release.files import LICENCES
from vertical_assets.release.promotion.comparison import Comparison
from vertical_assets.release.promotion.frozen import frozen_digest
from vertical_assets.release.promotion.gates import Stored, Verdict
from vertical_assets.spec import VerticalSpec

SLICES_SHOWN = 5
PACKAGES = ("vertical-assets", "openvino", "nncf", "tokenizers", "scikit-learn")
# Metrics that the hub knows by a name of its own.
METRICS = {"f1_macro": "f1", "f1_micro": "f1", "f1": "f1", "r2": "r_squared"}
APPROVED = (
    "It answers only where a person approved it: who did, when and why is in `channels.json`; "
    "`vertical-assets releases {name}` lists it."
)
ASK = """```python
from pathlib import Path
from vertical_assets.release.predictor import Predictor

Predictor(Path("artifact")).predict({arguments})
```"""


def model_card(
    stored: Stored,
    comparison: Comparison | None,
    verdicts: Sequence[Verdict],
    spec: VerticalSpec,
) -> str:
    """README.md of a release.

    Args:
        stored: tables and files that the model is judged by.
        comparison: its artifact beside the baselines and the champion; None where it could not be
            asked.
        verdicts: of all gates.
        spec: the vertical.
    """
    kind, simulated = spec.task.kind, spec.annotation.simulate is not None
    digest = frozen_digest(stored.labeled)
    licences = json.loads((stored.artifact / LICENCES).read_text())
    data = ModelCardData(
        model_name=f"{spec.name} {stored.artifact.name[:8]}",
        language=[spec.language],
        license=licence_id([row["licence"] for row in licences if row["licence"] != "own"]),
        library_name="openvino",
        pipeline_tag=CATEGORIES[kind],
        tags=[spec.name, "int8", *(["simulated-annotators"] if simulated else [])],
        eval_results=_results(stored, comparison, digest, spec),
    )
    sizes = stored.artifact_manifest.get("sizes", {})
    questions = ', ["a question"]' if kind == "question_answering" else ""
    body = [
        f"# {spec.name}: {spec.task.name}",
        f"A model of the domain *{spec.domain}* ({spec.language}), {kind}, in INT8; it answers "
        "without torch. Release `" + stored.artifact.name + "`.",
        "## Use",
        ASK.format(arguments=f'["a text"]{questions}'),
        f"A text is read up to {spec.model.max_tokens} tokens"
        + (
            ", a longer one in windows."
            if kind in ("entities", "question_answering")
            else "; what is beyond is not read."
        ),
        "## Label standard",
        definitions(spec),
        "## Data",
        sources_table(spec),
        *([SIMULATED] if simulated else ["The labels are people's."]),
        agreement_lines(stored.agreement, spec),
        pairs(_splits(stored.labeled), "split", "items"),
        "## Metrics",
        f"On the test set `{digest}`, with 95 % bootstrap intervals; `{FINETUNED}` is this "
        "artifact, as it is served."
        if comparison is not None
        else "The artifact was not compared.",
        table(side_by_side(comparison.report, TEST, kind)) if comparison is not None else "",
        "## Robustness",
        table(_robustness(stored.robustness)),
        "## Weakest slices",
        table(_weakest(stored.slices, spec)),
        "## Size",
        pairs({name: f"{size / 1e6:.1f} MB" for name, size in sizes.items()}, "what", "size"),
        "## Gates",
        table(_gates(verdicts)),
        *([APPROVED.format(name=spec.name)] if spec.promote.approval == "required" else []),
        "## Privacy",
        privacy_lines(spec, stored.model_manifest),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(stored, spec)),
        "## Licences",
        table(licences),
        "## Made from",
        pairs(
            {
                **stored.versions,
                **stored.model_manifest.get("inputs", {}),
                "seed": spec.seed,
                **stored.model_manifest.get("packages", {}),
                **package_versions(*PACKAGES),
                "python": stored.model_manifest.get("python", ""),
            },
            "what",
            "version",
        ),
    ]
    return card_of(ModelCard, data, body)


def _results(
    stored: Stored, comparison: Comparison | None, digest: str, spec: VerticalSpec
) -> list[EvalResult]:
    """Figures of the artifact on the test set, as the hub's model index holds them."""
    if comparison is None:
        return []
    metric = MAIN_METRIC[spec.task.kind]
    figures = figures_of(comparison.report, FINETUNED, TEST)
    return [
        EvalResult(
            task_type=CATEGORIES[spec.task.kind],
            dataset_type=spec.name,
            dataset_name=f"{spec.name}, labelled set",
            dataset_split=TEST,
            dataset_revision=digest,
            metric_type=METRICS.get(name, name),
            metric_name=TITLES.get(name, name),
            metric_value=figures[name],
        )
        for name in (metric, "accuracy")
        if name in figures
    ]


def _splits(labeled: pa.Table) -> dict[str, int]:
    splits = labeled["split"].to_pylist()
    return {name: splits.count(name) for name in (TRAIN, VALIDATION, TEST)}


def _robustness(report: pa.Table) -> list[dict[str, Any]]:
    names = ("attack", "level", "metric", "score", "low", "high", "drop", "items", "note")
    return [{name: row[name] for name in names} for row in report.to_pylist()]


def _weakest(slices: pa.Table, spec: VerticalSpec) -> list[dict[str, Any]]:
    names = ("dimension", "slice", "items", "metric", "value", "low", "high", "overall")
    worst = worst_of(slices, TEST, spec, SLICES_SHOWN)
    return [{name: row[name] for name in names} for row in worst]


def _gates(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    return [
        {
            "subject": each.subject,
            "gate": each.gate.gate,
            "passed": "yes" if each.gate.passed else "no" if each.gate.blocking else "no, it warns",
            "why": each.gate.why,
        }
        for each in verdicts
    ]


def _limits(stored: Stored, spec: VerticalSpec) -> list[str]:
    """What the model is not good for, as far as it is known."""
    simulated = spec.annotation.simulate is not None
    worst = worst_of(stored.slices, TEST, spec, 1)
    return [
        *(["labels of simulated annotators: figures are of the machinery"] if simulated else []),
        f"texts in {spec.language} like those of its sources; nothing was measured on others",
        "typing errors and adversarial changes lower its figures as the table above says",
        *(
            f"weakest on {row['dimension']} {row['slice']}: {row['metric']} {row['value']:.3f} "
            f"against {row['overall']:.3f}"
            for row in worst
        ),
        "its confidence is no proof: see the calibration error (ece) above",
        "no decision about a person should rest on it alone",
    ]
