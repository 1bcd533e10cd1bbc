"""The dataset card, and what it shares with the model card: Hugging Face's format, a README.md with
YAML front matter (Mitchell et al. 2019, "Model Cards for Model Reporting"; Gebru et al. 2021,
"Datasheets for Datasets").
"""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from huggingface_hub import DatasetCard, DatasetCardData

from vertical_assets.labels.gold.balance import balance
from vertical_assets.spec import TaskKind, VerticalSpec
from vertical_assets.store.markdown import markdown_table

CELL = 400  # characters: definitions are shown whole
# The hub's names of tasks.
CATEGORIES: dict[TaskKind, str] = {
    "classification": "text-classification",
    "multi_label": "text-classification",
    "entities": "token-classification",
    "question_answering": "question-answering",
    "regression": "text-classification",
    "generation": "text-generation",
}
# Beginning of a statement -> the hub's identifier of the licence.
_LICENCES = {
    r"mit\b": "mit",
    r"apache[- ](license,? )?(version )?2(\.0)?\b": "apache-2.0",
    r"bsd[- ]3": "bsd-3-clause",
    r"bsd[- ]2": "bsd-2-clause",
    r"cc0": "cc0-1.0",
    r"cc[- ]by[- ]4": "cc-by-4.0",
    r"cc[- ]by[- ]sa[- ]4": "cc-by-sa-4.0",
    r"public domain": "pddl",
}
SIMULATED = (
    "**The labels come from simulated annotators, not from people**: gold labels with a stated "
    "error rate. Agreement and quality figures say how the machinery works, not how people label."
)


def licence_id(statements: Sequence[str]) -> str:
    """The hub's identifier of what some licences have in common; `other` where there is none."""
    found = {
        next((name for start, name in _LICENCES.items() if re.match(start, said, re.I)), "other")
        for said in statements
    }
    return found.pop() if len(found) == 1 else "other"


def package_versions(*names: str) -> dict[str, str]:
    """Versions of installed packages."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table, their cells whole."""
    return markdown_table(rows, CELL)


def pairs(of: Mapping[str, Any], name: str, value: str) -> str:
    """A mapping as a Markdown table of two columns."""
    return table([{name: key, value: each} for key, each in of.items()])


def sources_table(spec: VerticalSpec) -> str:
    """The sources with their kinds and licences."""
    return table(
        [{"source": each.name, "kind": each.kind, "licence": each.licence} for each in spec.sources]
    )


def definitions(spec: VerticalSpec) -> str:
    """The label standard: labels or types with their definitions, or the range."""
    task = spec.task
    parts = [
        pairs({each: said.definition for each, said in of.items()}, name, "definition")
        for name, of in (("label", task.definitions), ("type of question", task.questions))
        if of
    ]
    if task.range is not None:
        parts.append(f"A number from {task.range[0]:g} to {task.range[1]:g}.")
    return "\n\n".join(parts)


def agreement_lines(agreement: pa.Table | None, spec: VerticalSpec) -> str:
    """Alpha of all labels with its interval.

    Args:
        agreement: AGREEMENT; None where labels come from the sources.
        spec: section `agreement`.
    """
    for row in [] if agreement is None else agreement.to_pylist():
        known = row["value"] is not None and row["low"] is not None
        if (row["scope"], row["statistic"]) == ("overall", "alpha") and known:
            return (
                f"Krippendorff's alpha {row['value']:.4f} (95 % interval {row['low']:.4f} to "
                f"{row['high']:.4f}, {row['items']} items); the bar is {spec.agreement.alpha}."
            )
    return "Agreement between annotators was not measured."


def privacy_lines(spec: VerticalSpec, spent: Mapping[str, Any] | None = None) -> str:
    """De-identification, and the privacy budgets that are set (SPEC X1).

    Args:
        spec: sections `deidentify`, `finetune.privacy`.
        spent: manifest of a trained model; its `privacy_` entries say what was spent.
    """
    lines = [
        "Names, numbers and addresses of persons that were found are pseudonyms; what was not "
        "found is not."
        if spec.deidentify.enabled
        else "Personal data were not looked for: the sources are said to hold none."
    ]
    private = spec.finetune.privacy
    if private is not None:
        line = (
            "Fine-tuning is differentially private (DP-SGD): budget epsilon "
            f"{private.epsilon:g} at delta {private.delta:g}"
        )
        known = (spent or {}).get("privacy_epsilon")
        if known is not None:
            line += f", of which {float(known):.3g} was spent; it covers {spent_on(spent or {})}"
        lines.append(f"{line}.")
    elif spent is not None:
        lines.append(
            "The model was trained without differential privacy: it may give away that a text was "
            "in its training data."
        )
    return "\n".join(f"- {line}" for line in lines)


def spent_on(manifest: Mapping[str, Any]) -> str:
    """What a privacy budget covers."""
    return str(manifest.get("privacy_covers", "the training items"))


def dataset_card(
    spec: VerticalSpec,
    labeled: pa.Table,
    agreement: pa.Table | None,
    inputs: Mapping[str, str],
    annotators: Mapping[str, int],
) -> str:
    """README.md of the labelled set.

    Args:
        spec: the vertical.
        labeled: LABELED.
        agreement: AGREEMENT; None where labels come from the sources themselves.
        inputs: asset -> data version of what the set was made from.
        annotators: kind (human | rule | model | simulated) -> how many annotators.
    """
    simulated = annotators.get("simulated", 0) > 0
    counts, size = balance(labeled, spec), len(labeled)
    splits = labeled["split"].to_pylist()
    licences = [source.licence for source in spec.sources]
    data = DatasetCardData(
        pretty_name=f"{spec.name}: {spec.task.name}",
        language=[spec.language],
        license=licence_id(licences),
        task_categories=[CATEGORIES[spec.task.kind]],
        size_categories=[size_category(size)],
        annotations_creators=[
            "machine-generated" if simulated or not annotators.get("human") else "expert-generated"
        ],
        source_datasets=["original"],
        tags=[spec.name, *(["simulated-annotators"] if simulated else [])],
        dataset_info={
            "splits": [{"name": name, "num_examples": splits.count(name)} for name in counts],
            "dataset_size": size,
        },
    )
    balanced = [
        {"label": name, **{split: counts[split][name] for split in counts}}
        for name in next(iter(counts.values()))
    ]
    who = ", ".join(f"{count} {kind}" for kind, count in annotators.items()) or "the sources"
    counted = list[float | None]()
    if "method" in labeled.column_names:  # of other methods it is a model's probability
        counted = labeled.filter(pc.equal(labeled["method"], "majority"))["confidence"].to_pylist()
    unsure = sum(value is not None and value < 1 for value in counted)
    body = [
        f"# {spec.name}: {spec.task.name}",
        f"{size} labelled texts of the domain *{spec.domain}* ({spec.language}).",
        "## Sources and licences",
        sources_table(spec),
        "## Label standard",
        f"Kind of task: {spec.task.kind}.",
        definitions(spec),
        "## Annotators and agreement",
        *([SIMULATED] if simulated else []),
        f"Annotators: {who}. {agreement_lines(agreement, spec)}",
        f"{unsure} items have a label that not all of their annotators gave." if counted else "",
        "## Splits and balance",
        "An item's split is decided by a hash of what it belongs to (its cluster of duplicates"
        + (f", or its `{spec.split.group}`" if spec.split.group else "")
        + "), so that no near duplicate of a test item is trained on.",
        table(balanced) if balanced else "",
        "## Privacy",
        privacy_lines(spec),
        "## Limits",
        "\n".join(f"- {line}" for line in limits_of(spec, simulated)),
        "## Made from",
        pairs({**inputs, "seed": str(spec.seed)}, "input", "version"),
    ]
    return card_of(DatasetCard, data, body)


def card_of(kind: type[Any], data: Any, body: Sequence[str]) -> str:
    """Front matter and paragraphs, read once by the hub's own class: it refuses bad metadata."""
    paragraphs = "\n\n".join(part for part in body if part)
    return str(kind(f"---\n{data.to_yaml()}\n---\n\n{paragraphs}\n"))


def limits_of(spec: VerticalSpec, simulated: bool) -> list[str]:
    """What the labels are not good for."""
    return [
        *(["simulated annotators: no person's judgement is in the labels"] if simulated else []),
        f"texts of the sources above, in {spec.language}; nothing is known of others",
        "what the label standard does not define is labelled by nobody",
        "data for research and products of this vertical, not for decisions about a person",
    ]


def size_category(rows: int) -> str:
    """The hub's name of a size."""
    bounds = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M")]
    return next((name for bound, name in bounds if rows < bound), "1M<n<10M")
