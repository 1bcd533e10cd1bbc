"""The picture of the robustness report."""

import pyarrow as pa

from vertical_assets.evaluation.names import MAIN_METRIC, TITLES
from vertical_assets.plots import curves
from vertical_assets.spec import VerticalSpec


def picture_of(report: pa.Table, spec: VerticalSpec) -> bytes:
    """Scores by level (of FGSM: epsilon), and the least that the bar of noise allows, as PNG."""
    rows = [row for row in report.to_pylist() if row["level"] is not None]
    clean = rows[0]["score"]
    lines = {}
    for attack in dict.fromkeys(row["attack"] for row in rows[1:]):
        points = sorted((r["level"], r["score"]) for r in rows if r["attack"] == attack)
        whole = [] if points[0][0] == 0 else [(0.0, clean)]
        x, y = zip(*(whole + points), strict=True)
        lines[attack] = (x, y)
    settings = spec.evaluate.robustness
    limit = clean - (settings.YARDSTICK if settings.max_drop is None else settings.max_drop)
    name = "yardstick" if settings.max_drop is None else "bar"
    lines[f"{name} at 0.1"] = ((0.0, 0.1), (limit, limit))
    title = TITLES[MAIN_METRIC[spec.task.kind]]
    return curves(lines, "share of edited characters; of FGSM: epsilon", f"test {title}")
