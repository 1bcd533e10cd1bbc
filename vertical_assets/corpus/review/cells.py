"""Cells of a CSV that people open in a spreadsheet, and get back as they were."""

import csv
import io
from collections.abc import Iterable, Sequence

# A cell that starts so is a formula to a spreadsheet (OWASP, "CSV Injection"); an apostrophe
# before it makes it text. One that starts with an apostrophe gets a second, to be read back right.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
CELL_CHARS = 32_000  # Excel's limit is 32,767


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A CSV file in UTF-8; the mark at its beginning keeps Excel from a local encoding."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([as_cell(cell) for cell in row])
    return ("\ufeff" + table.getvalue()).encode()


def as_cell(text: str) -> str:
    """A text as a cell: no formula, and no longer than a cell may be."""
    cell = f"'{text}" if text.startswith((*_FORMULA, "'")) else text
    return cell if len(cell) <= CELL_CHARS else f"{cell[:CELL_CHARS]}…"


def as_written(cell: str) -> str:
    """A cell as it was before `as_cell`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*_FORMULA, "'")) else cell
