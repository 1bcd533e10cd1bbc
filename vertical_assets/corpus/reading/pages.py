"""Pages: readers of files that are one document each - plain text, HTML, PDF, DOCX."""

import codecs
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from vertical_assets.corpus.reading.encodings import (
    BYTE_ORDER_MARKS,
    SAMPLE_BYTES,
    decoded_whole,
    detect_encoding,
)
from vertical_assets.corpus.reading.files import SourceError, UnreadableError
from vertical_assets.corpus.reading.parts import SourcePart, opened_part, seekable
from vertical_assets.spec import Source

# A document's fields, and (rule, reason) where it breaks one.
Page = tuple[dict[str, Any], tuple[str, str] | None]

# First bytes of files that are no text, whatever they are called.
SIGNATURES = {
    b"PK\x03\x04": "a ZIP archive or an Office file",
    b"\x1f\x8b": "gzip (.gz)",
    b"\x28\xb5\x2f\xfd": "zstd (.zst)",
    b"\xfd7zXZ\0": "xz (.xz)",
    b"%PDF-": "PDF",
    b"PAR1": "Parquet",
    b"SQLite format 3\0": "an SQLite database (which wants 'database' and 'query')",
}
# Browsers look at the first 1024 bytes (WHATWG); some publishers put scripts before it.
HTML_HEAD_BYTES = 4096
HTML_CHARSET = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)


def text_encoding(content: bytes, part: SourcePart, source: Source) -> str:
    """Encoding of a text that begins so: as declared, or detected.

    Raises:
        SourceError: no such encoding.
        UnreadableError: it is no text by its first bytes, and no encoding is declared.
    """
    if not content:
        raise UnreadableError("empty_file", "the file has no bytes")
    guessed = source.encoding is None and part.encoding is None
    for signature, words in SIGNATURES.items():
        if guessed and content.startswith(signature):
            raise UnreadableError(
                "wrong_format", f"the first bytes are those of {words}; rename or convert the file"
            )
    encoding = source.encoding or part.encoding or detect_encoding(content[:SAMPLE_BYTES])
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise SourceError(
            f"source {source.name!r}: no encoding is called {encoding!r}; correct 'encoding', or "
            "leave it out to have it detected"
        ) from None


def undecodable(place: str, encoding: str) -> tuple[str, str]:
    """Rule and reason of a line whose bytes are no text."""
    return (
        "undecodable",
        f"{place}: bytes that are no text in {encoding}; "
        "where that is the wrong one, give the source's 'encoding'",
    )


def _text(part: SourcePart, source: Source) -> Page:
    with opened_part(part) as (_, stream):
        content = stream.read()
    encoding = text_encoding(content, part, source)
    text, line = decoded_whole(content, encoding)
    return {"text": text}, undecodable(f"{part.name}:{line}", encoding) if line else None


def _html(part: SourcePart, source: Source) -> Page:
    """Title and main text by trafilatura; all of the text where it finds no main part."""
    from lxml import html
    from trafilatura import extract, html2txt
    from trafilatura.metadata import extract_title

    with opened_part(part) as (_, stream):
        content = stream.read()
    encoding = text_encoding(content, part, source)
    text, line = decoded_whole(content, encoding)
    said = HTML_CHARSET.search(content, 0, HTML_HEAD_BYTES)
    if said and not source.encoding and not content.startswith(tuple(BYTE_ORDER_MARKS)):
        name = said[1].decode().lower()
        # Browsers read these labels as their superset (WHATWG's Encoding Standard).
        name = "gb18030" if name in ("gb2312", "gbk") else name
        try:
            declared, wrong = decoded_whole(content, name)
        except LookupError:
            wrong = 1
        if not wrong:
            text, line = declared, None
    parser = html.HTMLParser(encoding="utf-8")
    tree = html.document_fromstring(text.encode(), parser=parser)
    title = extract_title(tree)
    main = extract(text, include_comments=False) or html2txt(tree)
    values, _ = _with_text({"title": title, "text": main}, "take the page away")
    return values, undecodable(f"{part.name}:{line}", encoding) if line else None


def _pdf(part: SourcePart, source: Source) -> Page:
    """Title and text of all pages by PDFium, which brings the character maps of Chinese fonts."""
    from pypdfium2 import PdfDocument

    with seekable(part) as opened, closing(PdfDocument(opened)) as document:
        texts = []
        for page in document:
            with closing(page), closing(page.get_textpage()) as textpage:
                texts.append(textpage.get_text_bounded())
        title = document.get_metadata_value("Title") or None
    # U+FFFE stands for the hyphen of a word that goes on in the next line.
    text = "\n".join(texts).replace("\r\n", "\n").replace("\ufffe\n", "").replace("\ufffe", "")
    return _with_text({"title": title, "text": text, "pages": len(texts)}, "run OCR on scans")


def _docx(part: SourcePart, source: Source) -> Page:
    """Title, paragraphs and tables in their order; a table's row is a line, tabs between cells."""
    from docx import Document

    with seekable(part) as opened:
        document = Document(str(opened) if hasattr(opened, "suffix") else opened)
    text = "\n".join(_word_lines(document))
    title = document.core_properties.title or None
    return _with_text({"title": title, "text": text}, "take the file away")


def _word_lines(container: Any) -> Iterator[str]:
    """Lines of a document or of a table's cell; merged cells are told once."""
    from docx.table import Table

    for item in container.iter_inner_content():
        if not isinstance(item, Table):
            yield item.text
            continue
        for row in item.rows:
            cells = {id(cell._tc): cell for cell in row.cells}
            yield "\t".join(" ".join(filter(None, _word_lines(cell))) for cell in cells.values())


def _with_text(values: dict[str, Any], remedy: str) -> Page:
    if not values["text"].strip():
        raise UnreadableError("no_text", f"no text is found in it; {remedy}")
    return values, None


READERS: dict[str, Callable[[SourcePart, Source], Page]] = {
    "text": _text,
    "html": _html,
    "pdf": _pdf,
    "docx": _docx,
}
