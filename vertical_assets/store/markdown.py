"""Rows as Markdown, for asset pages and cards."""

from collections.abc import Mapping, Sequence
from typing import Any


def markdown_table(rows: Sequence[Mapping[str, Any]], cell: int = 60) -> str:
    """Rows as a Markdown table; long cells are cut."""
    if not rows:
        return "no rows"

    def show(value: Any) -> str:
        text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
        text = " ".join(text.split()).replace("|", "\\|")
        return text if len(text) <= cell else f"{text[: cell - 1]}…"

    lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    lines += ["| " + " | ".join(map(show, row.values())) + " |" for row in rows]
    return "\n".join(lines)
