"""What the page of labeling_tasks shows."""

import json
from collections import Counter
from typing import Any

import pyarrow as pa

from vertical_assets.labels.tasks.selection import ORDER
from vertical_assets.labels.tasks.tasks import ANNOTATOR, EXPERT

PER_STRATEGY = 3


def by_strategy(tasks: pa.Table) -> dict[str, dict[str, int]]:
    """route -> strategy -> tasks, of LABELING_TASKS."""
    counts = Counter(zip(tasks["route"].to_pylist(), tasks["strategy"].to_pylist(), strict=True))
    return {
        route: {strategy: counts[route, strategy] for strategy in ORDER}
        for route in (EXPERT, ANNOTATOR)
    }


def examples(tasks: pa.Table) -> list[dict[str, Any]]:
    """The first tasks of each strategy, of LABELING_TASKS."""
    shown: Counter[str] = Counter()
    rows = []
    for row in tasks.to_pylist():
        shown[row["strategy"]] += 1
        if shown[row["strategy"]] <= PER_STRATEGY:
            said = json.loads(row["predictions"])
            rows.append(
                {
                    "strategy": row["strategy"],
                    "text": row["text"],
                    "reason": row["reason"],
                    "predicted": ", ".join(f"{each['target']}" for each in said),
                    "route": row["route"],
                    "because": row["route_reason"],
                }
            )
    return rows
