"""Verdicts: the sample goes to people as files, and what they say comes back (SPEC D5, D7).

Out: a CSV for spreadsheets, tasks and labelling interface for Label Studio. Back: any number of
CSVs and Label Studio exports. Every row is a verdict, rejected, or left empty: none is lost.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

import pyarrow as pa
import xxhash
from upath import UPath

from vertical_assets.corpus.reading.encodings import SAMPLE_BYTES, detect_encoding
from vertical_assets.corpus.reading.sources import drop_folder
from vertical_assets.corpus.review.cells import as_written, csv_bytes
from vertical_assets.spec import SpotCheck, VerticalSpec
from vertical_assets.store import atomic
from vertical_assets.store.contracts import QUARANTINE, SPOT_VERDICTS

VALID = "valid"
VERDICTS = {
    VALID: "A text that means something in this domain",
    "blank": "Nothing, or only signs and spaces",
    "meaningless": "Words without a meaning: filler, spam, random strings",
    "garbled": "Broken characters, mixed or cut texts",
    "off_topic": "A good text of another domain",
}
CSV_NAME, TASKS_NAME, CONFIG_NAME = "sample.csv", "label_studio_tasks.json", "label_studio.xml"
COLUMNS = ("doc_id", "source", "text", "verdict", "comment")


class VerdictError(Exception):
    """An export that would destroy verdicts; the message names the file and the remedy."""


@dataclass(frozen=True)
class Verdicts:
    """What people said: SPOT_VERDICTS, rows that can't be used (QUARANTINE), rows left empty."""

    verdicts: pa.Table
    rejected: pa.Table
    unjudged: int

    @property
    def rows(self) -> int:
        return self.verdicts.num_rows + self.rejected.num_rows + self.unjudged


def export_sample(sample: pa.Table, folder: UPath) -> list[UPath]:
    """Writes the sample for people; each file appears whole or not at all.

    Args:
        sample: SPOT_CHECK.
        folder: where to; made if it is not there.

    Returns:
        The files: CSV_NAME, TASKS_NAME, CONFIG_NAME.

    Raises:
        VerdictError: somebody wrote verdicts into the exported CSV; it is left as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CSV_NAME
    if file.exists() and any(cells.get("verdict") for _, cells, _ in _csv_rows(file)):
        raise VerdictError(
            f"{file} holds verdicts that a new sample would overwrite; "
            f"save it as verdicts_<your name>.csv beside it, and remove it"
        )
    rows = sample.select(["doc_id", "source", "text"]).to_pylist()
    cells = ((row["doc_id"], row["source"], row["text"], "", "") for row in rows)
    tasks = json.dumps([{"data": row} for row in rows], ensure_ascii=False, indent=1)
    contents = {
        CSV_NAME: csv_bytes(COLUMNS, cells),
        TASKS_NAME: f"{tasks}\n".encode(),
        CONFIG_NAME: label_studio_config().encode(),
    }
    return [_write(folder / name, content) for name, content in contents.items()]


def label_studio_config() -> str:
    """Label Studio's labelling interface: the text, one verdict, a comment."""
    choices = "".join(
        f"    <Choice value={quoteattr(verdict)} hint={quoteattr(hint)}/>\n"
        for verdict, hint in VERDICTS.items()
    )
    return (
        '<View>\n  <Text name="text" value="$text"/>\n'
        '  <Choices name="verdict" toName="text" choice="single" required="true">\n'
        f"{choices}  </Choices>\n"
        '  <TextArea name="comment" toName="text" placeholder="Comment" rows="2"/>\n</View>\n'
    )


def _write(file: UPath, content: bytes) -> UPath:
    atomic.replace(file, content)
    return file


def verdict_files(policy: SpotCheck, data: UPath) -> list[UPath]:
    """People's files, sorted by name; none where nobody has judged yet.

    Args:
        policy: section `spot_check`.
        data: folder that a relative `verdicts` starts from, `data/<vertical>/`.
    """
    pattern = UPath(policy.verdicts)
    folder = data / str(pattern.parent) if not pattern.is_absolute() else pattern.parent
    return sorted(folder.glob(pattern.name), key=str) if folder.exists() else []


def verdict_fingerprint(spec: VerticalSpec) -> str:
    """Digest of the names and bytes of people's files."""
    digest = xxhash.xxh3_128()
    for file in verdict_files(spec.spot_check, drop_folder(spec.name)):
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def read_verdicts(files: Iterable[UPath]) -> Verdicts:
    """Reads people's files: CSV as exported and filled in, or Label Studio's JSON export.

    Who judged is the CSV's column `annotator_id`, or else the file's name; in Label Studio's
    export, who completed the annotation. A row without a verdict and a skipped task are unjudged.
    Everything else that is no verdict is rejected with its place and the reason.
    """
    good, bad = list[dict[str, Any]](), list[dict[str, Any]]()
    unjudged = 0
    seen: set[tuple[str, str]] = set()
    for file in files:
        read = _label_studio_rows if file.suffix.lower() == ".json" else _csv_rows
        for place, cells, problem in read(file):
            doc_id, who = cells.get("doc_id", ""), cells.get("annotator_id") or file.stem
            verdict = cells.get("verdict", "").strip().lower().replace("-", "_")
            rule, field, reason = "broken_row", "row", problem
            if not problem and not doc_id:
                rule, field, reason = "required", "doc_id", "no doc_id; keep the exported column"
            elif not problem and not verdict:
                unjudged += 1
                continue
            elif not problem and verdict not in VERDICTS:
                rule, field = "unknown_verdict", "verdict"
                reason = f"{verdict!r} is no verdict; write one of {', '.join(VERDICTS)}"
            elif not problem and (doc_id, who) in seen:
                rule, field, reason = "repeated", "doc_id", f"{who} judged this document before"
            if reason:
                bad.append(
                    {
                        "doc_id": doc_id,
                        "source": file.name,
                        "origin": place,
                        "rule": rule,
                        "field": field,
                        "value": json.dumps(cells, ensure_ascii=False)[:200],
                        "reason": f"{place}: {reason}",
                    }
                )
                continue
            seen.add((doc_id, who))
            good.append(
                {
                    "doc_id": doc_id,
                    "annotator_id": who,
                    "verdict": verdict,
                    "comment": cells.get("comment") or None,
                    "origin": place,
                }
            )
    return Verdicts(
        pa.Table.from_pylist(good, SPOT_VERDICTS), pa.Table.from_pylist(bad, QUARANTINE), unjudged
    )


Read = tuple[str, dict[str, str], str | None]  # place, cells, what is wrong with the row


def _csv_rows(file: UPath) -> Iterator[Read]:
    """Rows of a CSV, whatever encoding and separator a spreadsheet saved it with."""
    content = file.read_bytes()
    encoding = detect_encoding(content[:SAMPLE_BYTES])
    # Ids and verdicts are ASCII: a byte that is no text elsewhere loses no verdict.
    text = content.decode(encoding, errors="replace")
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    names = [name.strip().lower() for name in next(reader, [])]
    if "doc_id" not in names or "verdict" not in names:
        yield f"{file.name}:1", {}, "the first line has no columns doc_id and verdict; restore it"
        return
    while True:
        place = f"{file.name}:{reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield place, {}, f"{error}; correct the line"
            continue
        if row is None:
            return
        cells = {name: as_written(cell) for name, cell in zip(names, row, strict=False)}
        if any(cells.values()):
            wrong = f"{len(row)} cells where the first line has {len(names)}"
            yield place, cells, None if len(row) == len(names) else wrong


def _label_studio_rows(file: UPath) -> Iterator[Read]:
    """Annotations of Label Studio's export format `JSON`, several a task."""
    try:
        tasks = json.loads(file.read_bytes())
    except ValueError as error:
        yield file.name, {}, f"{error}; export the project again, as JSON"
        return
    if not isinstance(tasks, list):
        yield file.name, {}, "no list of tasks; export the project again, as JSON"
        return
    for number, task in enumerate(tasks):
        place = f"{file.name}: task {number + 1}"
        try:
            doc_id, annotations = str(task["data"]["doc_id"]), task["annotations"]
        except (KeyError, TypeError):
            yield place, {}, "no data.doc_id or no annotations; export as JSON, not JSON-MIN"
            continue
        if not annotations:
            yield place, {"doc_id": doc_id}, None
        for position, annotation in enumerate(annotations):
            where = f"{place}, annotation {position + 1}"
            try:
                yield where, {"doc_id": doc_id, **_said(annotation)}, None
            except (KeyError, IndexError, TypeError, AttributeError):
                yield where, {"doc_id": doc_id}, "not in Label Studio's annotation format"


def _said(annotation: Mapping[str, Any]) -> dict[str, str]:
    """Verdict, comment and annotator of one of Label Studio's annotations."""
    who = annotation.get("completed_by")
    if isinstance(who, Mapping):
        who = who.get("email") or who["id"]
    said = {"annotator_id": "" if who is None else f"label_studio_{who}"}
    if annotation.get("was_cancelled"):
        return said
    for result in annotation["result"]:
        if result["from_name"] == "verdict":
            said["verdict"] = result["value"]["choices"][0]
        elif result["from_name"] == "comment":
            text = result["value"]["text"]
            said["comment"] = text if isinstance(text, str) else "\n".join(text)
    return said
