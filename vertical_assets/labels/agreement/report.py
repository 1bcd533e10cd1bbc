"""The report of agreement: alpha with its interval, by class, pair and annotator (SPEC D8)."""

from types import ModuleType
from typing import Any

import pyarrow as pa

from vertical_assets.labels.agreement import by_labels, by_numbers, by_sums
from vertical_assets.labels.votes import latest
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import AGREEMENT


def agreement_report(annotations: pa.Table, spec: VerticalSpec) -> pa.Table:
    """AGREEMENT, the figures over all items first; which ones there are by the task's kind:

    | kind | alpha's level and units | beside alpha |
    |---|---|---|
    | classification | `task.level`; items | AC1 (nominal) or AC2, percent |
    | multi_label | nominal; the mean over labels of items that have it or not | AC1, percent |
    | entities, question_answering | nominal; characters | percent (of items), F1 of spans |
    | regression | `task.level`; items | |

    Of an annotator's several judgements of an item the latest counts. Figures of one annotator are
    against all others of the same items, who count one annotator together; of pairs, the 20,000
    that share most items are there. What a batch comes to is `adjudication.verdicts.judge`'s.

    Args:
        annotations: ANNOTATIONS of one task.
        spec: sections `task`, `agreement`, `seed`.
    """
    kind = _of_kind(spec)
    once = latest(annotations)
    rows = [*kind.overall(once, spec), *kind.details(once, spec)]
    return pa.Table.from_pylist(rows, AGREEMENT)


def alpha_of(
    annotations: pa.Table, spec: VerticalSpec
) -> tuple[float | None, float | None, float | None]:
    """Krippendorff's alpha and the ends of its 95 % interval, as in `agreement_report`; None where
    no item has two annotators.
    """
    first: dict[str, Any] = _of_kind(spec).overall(latest(annotations), spec)[0]
    return first["value"], first["low"], first["high"]


def batches_of(annotations: pa.Table) -> list[str]:
    """Names of the batches in the order of their first `created_at`, then of their names; those
    that say no time come first.
    """
    first = annotations.group_by("batch").aggregate([("created_at", "min")]).to_pylist()
    ordered = sorted(first, key=lambda row: (row["created_at_min"] or "", row["batch"]))
    return [row["batch"] for row in ordered]


def _of_kind(spec: VerticalSpec) -> ModuleType:
    kinds = {"classification": by_labels, "regression": by_numbers}
    return kinds.get(spec.task.kind, by_sums)
