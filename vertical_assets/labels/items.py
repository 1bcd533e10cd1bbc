"""Items: the documents that people may speak of, under all the names that files give them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vertical_assets.corpus.reading.sources import document_id, drop_folder
from vertical_assets.labels.anchoring import ItemText
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.tombstones import FILE as TOMBSTONES
from vertical_assets.store.tombstones import read as read_tombstones


def needed_columns(spec: VerticalSpec) -> list[str]:
    """Columns of DEDUP_DOCUMENTS that annotations of this task are checked against."""
    return ["doc_id", "meta", *(["text", "changes"] if spec.task.has_spans else [])]


def texts_of(documents: pa.Table, spec: VerticalSpec) -> dict[str, ItemText]:
    """Text of every item, and whether cleaning changed it; nothing where targets are no spans."""
    if not spec.task.has_spans:
        return {}
    return {
        id_: ItemText(text, any(change["field"] == "text" for change in json.loads(changes)))
        for id_, text, changes in zip(
            *(documents[name].to_pylist() for name in ("doc_id", "text", "changes")), strict=True
        )
    }


@dataclass(frozen=True)
class Items:
    """The documents that people may speak of, under all their names.

    Attributes:
        known: doc_ids of the corpus.
        texts: of every item, where targets are spans.
        kept: doc_id of a dropped duplicate -> the document that was kept.
        gone: doc_ids that are to be forgotten.
    """

    known: frozenset[str]
    texts: Mapping[str, ItemText]
    kept: Mapping[str, str]
    gone: frozenset[str]

    def text(self, item: str, named: str) -> ItemText | None:
        """An item's text, as whoever named it saw it: a duplicate's is much the same, not the
        same.
        """
        found = self.texts.get(item)
        return found and ItemText(found.text, found.changed or item != named)


def items_of(spec: VerticalSpec, documents: pa.Table, duplicates: pa.Table) -> Items:
    """The items of a vertical.

    Args:
        spec: section `task`.
        documents: `needed_columns` of DEDUP_DOCUMENTS.
        duplicates: DUPLICATES.
    """
    names = (duplicates[column].to_pylist() for column in ("dropped_id", "kept_id"))
    tombstones = read_tombstones(drop_folder(spec.name) / TOMBSTONES)
    known = frozenset(documents["doc_id"].to_pylist())
    # An id that is a place may be another document's by now.
    gone = frozenset(entry.doc_id for entry in tombstones.entries) - known
    return Items(known, texts_of(documents, spec), dict(zip(*names, strict=True)), gone)


def names_item(values: Mapping[str, Any]) -> bool:
    """Whether a row says which item it speaks of."""
    return any(values.get(name) not in (None, "") for name in ("item_id", "id"))


def item_named(values: Mapping[str, Any]) -> str:
    """The doc_id that a row of people's labels speaks of."""
    native = values.get("id")
    return str(values.get("item_id") or document_id(str(values.get("source")), str(native)))
