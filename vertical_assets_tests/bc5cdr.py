"""BC5CDR (chemicals and diseases in abstracts) as a vertical: real entities for tests.

The files have a token and its IOB tag a line, an empty line between sentences.
"""

from collections.abc import Iterator
from typing import Any

from vertical_assets_tests.conftest import shared_data, tiny

BLOCK = 10  # sentences, about an abstract
TYPES = {"Chemical": "Drugs and other substances.", "Disease": "Diseases and their signs."}


def sentences(split: str, most: int | None = None) -> Iterator[list[tuple[str, str]]]:
    """(token, tag) of each sentence of `train`, `devel` or `test`; at most `most` of them."""
    lines = (shared_data("bioner_en") / "BC5CDR" / f"{split}.tsv").read_text("utf-8").splitlines()
    sentence: list[tuple[str, str]] = []
    given = 0
    for line in [*lines, ""]:
        if line.strip():
            token, tag = line.split("\t")
            sentence.append((token, tag))
        elif sentence:
            if given == most:
                return
            yield sentence
            sentence, given = [], given + 1


def text_and_spans(sentence: list[tuple[str, str]]) -> tuple[str, list[dict[str, Any]]]:
    """A sentence's tokens joined by spaces, and its entities as places in that text."""
    text, spans = "", list[dict[str, Any]]()
    for token, tag in sentence:
        start = len(text) + bool(text)
        text = f"{text} {token}" if text else token
        if tag.startswith("B-") or (tag.startswith("I-") and not spans):
            spans.append({"start": start, "end": len(text), "label": tag[2:]})
        elif tag.startswith("I-"):
            spans[-1]["end"] = len(text)
    for span in spans:
        span["quote"] = text[span["start"] : span["end"]]
    return text, spans


def documents(split: str, most: int | None = None) -> list[dict[str, Any]]:
    """JSON rows of a source: `id`, `text`, the gold spans `entities`, and `block`, which neighbours
    share, since they speak of the same things; the files do not say where an abstract ends.
    """
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
