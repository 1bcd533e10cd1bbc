"""BC5CDR (chemicals and diseases in abstracts) as a vertical: real entities for tests."""

from typing import Any

from benchmarks.bc5cdr import TYPES, sentences, text_and_spans
from vertical_assets_tests.conftest import shared_data, tiny

BLOCK = 10  # sentences, about an abstract


def documents(split: str, most: int | None = None) -> list[dict[str, Any]]:
    """JSON rows of a source: `id`, `text`, the gold spans `entities`, and `block`, which neighbours
    share, since they speak of the same things; the files do not say where an abstract ends.
    """
    shared_data("bioner_en")  # skips where it is absent
    rows = []
    for number, sentence in enumerate(sentences(split, most)):
        text, spans = text_and_spans(sentence)
        block = f"{split}-{number // BLOCK}"
        rows.append({"id": f"{split}-{number}", "text": text, "entities": spans, "block": block})
    return rows


def bc5cdr(**changes: Any) -> dict[str, Any]:
    """A vertical of entities: one source, `bc5cdr.jsonl`, with simulated annotators."""
    source = {"name": "bc5cdr", "kind": "public", "licence": "CC BY 4.0", "path": "bc5cdr.jsonl"}
    return tiny(
        **{
            "name": "bc5cdr",
            "domain": "medicine, chemicals and diseases",
            "language": "en",
            "sources": [source],
            "deidentify": {"enabled": False},  # published abstracts name nobody
            "task": {"name": "entities", "kind": "entities", "labels": TYPES},
            "annotation": {"simulate": {"gold": "entities"}},
            "split": {"group": "block"},
            **changes,
        }
    )
