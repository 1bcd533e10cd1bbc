"""Trace: every row of the store that speaks of one document, and the models that saw it.

Documents keep their id through every table (DESIGN 4), so tracing is a look into each current table
for that id. Each model's manifest names the versions of the tables that it was made from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.dataset as pads
from upath import UPath

from vertical_assets.labels.splits import TEST
from vertical_assets.store import Directory, Table
from vertical_assets.store.encryption import reading
from vertical_assets.store.versions import MANIFEST, PARTS, POINTER, current, local_directory

ID_COLUMNS = ("doc_id", "item_id", "origin_id", "dropped_id", "kept_id")
UNSAID = ("words", "embedding")  # the text once more


@dataclass(frozen=True)
class Step:
    """One row, or one model: what was found under which asset."""

    asset: str
    found: dict[str, Any]


def entries(folder: UPath) -> Iterator[tuple[str, UPath]]:
    """(asset[/partition], path of its current version) of all assets stored for a vertical."""
    for pointer in sorted(folder.glob("**/" + POINTER), key=str):
        name = pointer.parent.path.removeprefix(folder.path).strip("/")
        if not name.startswith("_"):
            yield name, current(pointer.parent)


def trace(folder: UPath, doc_id: str, order: Sequence[str]) -> list[Step]:
    """Every step that a document took.

    Args:
        folder: the vertical's folder in the store.
        doc_id: the document.
        order: assets in the order of the graph.

    Returns:
        Its rows in every current table, then the models made from those tables.
    """
    rank = {asset: place for place, asset in enumerate(order)}
    stored = sorted(entries(folder), key=lambda found: rank.get(found[0].split("/")[0], len(rank)))
    steps: list[Step] = []
    seen_in: dict[str, str] = {}  # asset -> version in which the document was found
    split = None
    for name, version in stored:
        if not (version / PARTS).exists():
            continue
        rows = rows_about(Table((version,)), doc_id)
        steps += [Step(name, row) for row in rows]
        if any("dropped_id" not in row and "rule" not in row for row in rows):
            seen_in[name] = version.name
        split = next((row["split"] for row in rows if "split" in row), split)
    for name, version in stored:
        if (version / MANIFEST).exists():
            inputs = Directory(local_directory(version)).manifest.get("inputs", {})
            if any(seen_in.get(asset) == used for asset, used in inputs.items()):
                held_out = split == TEST
                seen_in[name] = version.name
                said = "made from its tables; it was held out as test" if held_out else "saw it"
                steps.append(Step(name, {"model": said, "version": version.name}))
    return steps


def rows_about(table: Table, doc_id: str) -> list[dict[str, Any]]:
    """The rows of a table that name the document in any of their id columns."""
    dataset = table.dataset()
    wanted = [pads.field(name) == doc_id for name in ID_COLUMNS if name in dataset.schema.names]
    if not wanted:
        return []
    condition = wanted[0]
    for other in wanted[1:]:
        condition = condition | other
    columns = [name for name in dataset.schema.names if name not in UNSAID]
    with reading(*table.paths):
        return dataset.to_table(columns=columns, filter=condition).to_pylist()
