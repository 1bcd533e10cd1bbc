"""BC5CDR (Li et al. 2016): chemicals and diseases in the sentences of 1,500 abstracts.

The files have a token and its IOB tag a line, an empty line between sentences.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TYPES = {"Chemical": "Drugs and other substances.", "Disease": "Diseases and their signs."}


def folder() -> Path:
    """The directory of `train.tsv`, `devel.tsv` and `test.tsv`, under `VERTICAL_TEST_DATA` or, by
    default, `../shared/data` beside the project.

    Raises:
        FileNotFoundError: it is not there.
    """
    default = Path(__file__).parent.parent.parent / "shared" / "data"
    data = Path(os.environ.get("VERTICAL_TEST_DATA", default))
    found = data / "bioner_en" / "BC5CDR"
    if not (found / "test.tsv").exists():
        raise FileNotFoundError(
            f"BC5CDR is not at {found}: put train.tsv, devel.tsv and test.tsv (a token, a tab and "
            "its IOB tag a line) there, or name the folder above 'bioner_en' by VERTICAL_TEST_DATA"
        )
    return found


def sentences(split: str, most: int | None = None) -> Iterator[list[tuple[str, str]]]:
    """(token, tag) of each sentence of `train`, `devel` or `test`; at most `most` of them."""
    lines = (folder() / f"{split}.tsv").read_text("utf-8").splitlines()
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
