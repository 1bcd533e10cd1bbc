"""ICD-10-CM's tabular list (XML of the US CDC) as documents: titles and inclusion terms."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree


def titles(path: Path) -> Iterator[dict[str, str]]:
    """One document per code: `id` the code, `text` its title, and where it belongs.

    Yields mappings with `id`, `text`, `code`, `category` (three characters) and `chapter` (1-22).
    Seventh-character extensions (encounter types) are no codes of their own in this file.
    """
    for chapter, category, diagnosis in _diagnoses(path):
        code = diagnosis.findtext("name", "")
        yield _document(code, diagnosis.findtext("desc", ""), code, category, chapter)


def inclusion_terms(path: Path) -> Iterator[dict[str, str]]:
    """One document per inclusion term: other names of what a code covers; fields as in `titles`."""
    for chapter, category, diagnosis in _diagnoses(path):
        code = diagnosis.findtext("name", "")
        for number, note in enumerate(diagnosis.iterfind("inclusionTerm/note"), 1):
            yield _document(f"{code}#{number}", note.text or "", code, category, chapter)


def _diagnoses(path: Path) -> Iterator[tuple[str, str, ElementTree.Element]]:
    for chapter in ElementTree.parse(path).getroot().iterfind("chapter"):
        for diagnosis in chapter.iter("diag"):
            category = diagnosis.findtext("name", "").partition(".")[0]
            yield chapter.findtext("name", ""), category, diagnosis


def _document(id_: str, text: str, code: str, category: str, chapter: str) -> dict[str, str]:
    return {"id": id_, "text": text, "code": code, "category": category, "chapter": chapter}
