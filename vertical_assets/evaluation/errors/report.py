"""The error report as one HTML file that can be read and sent: no scripts, nothing loaded.

Of a sensitive vertical it holds no texts, and no targets that are parts of texts: those are only in
the encrypted tables (SPEC X2).
"""

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from vertical_assets.evaluation.errors.relabel import LABEL_ERROR, OUTLIER
from vertical_assets.evaluation.errors.slices import ALL, FEWEST_GROUPS, gates_of, worst_of
from vertical_assets.labels.splits import TEST, VALIDATION
from vertical_assets.labels.targets import SPAN_KINDS
from vertical_assets.spec import VerticalSpec

TEMPLATE = "report.html.j2"
WORST_SHOWN, CONFUSIONS_SHOWN = 12, 12
ERRORS_SHOWN, LABELS_SHOWN, OUTLIERS_SHOWN = 40, 30, 15
TEXT_SHOWN, DEFINITION_SHOWN = 280, 44  # characters


def report_html(
    slices: pa.Table,
    errors: pa.Table,
    queue: pa.Table,
    predictions: pa.Table,
    facts: Mapping[str, int],
    versions: Mapping[str, str],
    spec: VerticalSpec,
) -> str:
    """The report; the same inputs give the same bytes.

    Args:
        slices: SLICES.
        errors: ERRORS; the validation split's are shown, so that nobody learns the test set.
        queue: RELABEL_QUEUE.
        predictions: PREDICTIONS.
        facts: figures of the analysis.
        versions: asset -> data version of what it was made from.
        spec: the vertical.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("vertical_assets.evaluation.errors", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cut"] = _cut
    kind = spec.task.kind
    tested = [row for row in slices.to_pylist() if row["split"] == TEST]
    whole = next((row for row in tested if row["dimension"] == ALL), None)
    shown = pc.equal(errors["split"], VALIDATION)
    return environment.get_template(TEMPLATE).render(
        spec=spec,
        facts=facts,
        versions=versions,
        whole=whole,
        gates=gates_of(slices, spec),
        worst=worst_of(slices, TEST, spec, WORST_SHOWN),
        dimensions=[
            (name, list(rows))
            for name, rows in groupby(tested, key=lambda row: row["dimension"])
            if name != ALL
        ],
        scale=max([1.0 if kind != "regression" else 1e-12, *(row["high"] for row in tested)]),
        lower_is_better=kind == "regression",
        confusion=confusion_counts(predictions, spec) if kind == "classification" else None,
        errors=errors.filter(shown).slice(0, ERRORS_SHOWN).to_pylist(),
        validation_errors=int(pc.sum(shown).as_py() or 0),
        suspected=_with_reason(queue, LABEL_ERROR)[:LABELS_SHOWN],
        outliers=_with_reason(queue, OUTLIER)[:OUTLIERS_SHOWN],
        queued=Counter(reason for row in queue["reasons"].to_pylist() for reason in row),
        queue_rows=len(queue),
        definitions={name: said.definition for name, said in spec.task.definitions.items()},
        texts_shown=not spec.sensitive,
        targets_shown=not (spec.sensitive and kind in SPAN_KINDS),
        fewest_groups=FEWEST_GROUPS,
        text_shown=TEXT_SHOWN,
        definition_shown=DEFINITION_SHOWN,
    )


def confusion_counts(predictions: pa.Table, spec: VerticalSpec) -> dict[str, Any]:
    """Test items by gold and predicted label, of the labels that occur; and the commonest mistakes.

    Returns:
        `labels`; `rows`: (label, its items, counts by predicted label); `commonest`: (gold,
        predicted, count).
    """
    tested = predictions.filter(pc.equal(predictions["split"], TEST))
    pairs = Counter(zip(tested["label"].to_pylist(), tested["predicted"].to_pylist(), strict=True))
    present = [label for label in spec.labels if any(label in pair for pair in pairs)]
    mistakes = sorted(
        ((-count, pair) for pair, count in pairs.items() if pair[0] != pair[1]),
    )
    return {
        "labels": present,
        "rows": [
            (gold, sum(pairs[gold, said] for said in present), [pairs[gold, s] for s in present])
            for gold in present
        ],
        "commonest": [(*pair, -count) for count, pair in mistakes[:CONFUSIONS_SHOWN]],
    }


def _with_reason(queue: pa.Table, reason: str) -> list[dict[str, Any]]:
    return [row for row in queue.to_pylist() if reason in row["reasons"]]


def _cut(text: Any, most: int) -> str:
    plain = " ".join(str(text).split())
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
