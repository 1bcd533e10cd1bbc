"""Verdicts survive spreadsheets and Label Studio; what is broken is told, and loses no other."""

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from upath import UPath

from vertical_assets.corpus.review.cells import CELL_CHARS
from vertical_assets.corpus.review.verdicts import (
    CONFIG_NAME,
    CSV_NAME,
    TASKS_NAME,
    VERDICTS,
    VerdictError,
    export_sample,
    read_verdicts,
    verdict_files,
)
from vertical_assets.spec import SpotCheck
from vertical_assets.store.contracts import SPOT_CHECK


def sample_of(texts: list[str]) -> pa.Table:
    """SPOT_CHECK of documents d0, d1, ..."""
    rows = [
        {"doc_id": f"d{n}", "source": "s", "language": "zh", "text": text, "verdicts": 0}
        for n, text in enumerate(texts)
    ]
    return pa.Table.from_pylist(rows, SPOT_CHECK)


HOSTILE = [
    "=1+1",
    "+86 139",
    "-5度",
    "@x",
    "'=1",
    "''",
    "\t=a",
    '"a", b\r\n=c',
    "＝１",
    "\ufeff",
    "x",
]


def test_cells_are_no_formulas_and_are_read_back_right(tmp_path: Path) -> None:
    sample = sample_of([*HOSTILE, "长" * 40_000])
    export_sample(sample, UPath(tmp_path / "spot_check"))
    exported = tmp_path / "spot_check" / CSV_NAME
    assert exported.read_bytes().startswith(b"\xef\xbb\xbf")
    with exported.open(encoding="utf-8-sig", newline="") as file:
        written = {row["doc_id"]: row for row in csv.DictReader(file)}
    assert list(written["d0"]) == ["doc_id", "source", "text", "verdict", "comment"]
    assert not any(
        row["text"].startswith(("=", "+", "-", "@", "\t", "\n")) for row in written.values()
    )
    assert len(written[f"d{len(HOSTILE)}"]["text"]) == CELL_CHARS + 1
    # Somebody copies every text into the comment and saves the file under another name.
    judged = tmp_path / "verdicts_anna.csv"
    with judged.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(written["d0"]))
        writer.writeheader()
        writer.writerows({**r, "verdict": "valid", "comment": r["text"]} for r in written.values())
    comments = {
        r["doc_id"]: r["comment"] for r in read_verdicts([UPath(judged)]).verdicts.to_pylist()
    }
    assert [comments[f"d{n}"] for n in range(len(HOSTILE))] == HOSTILE


def test_an_export_never_overwrites_verdicts(tmp_path: Path) -> None:
    folder = UPath(tmp_path)
    sample = sample_of(["文"])
    export_sample(sample, folder)
    export_sample(sample, folder)  # nobody wrote anything yet
    (tmp_path / CSV_NAME).write_text("doc_id,source,text,verdict,comment\nd0,s,文,valid,\n")
    with pytest.raises(VerdictError, match=r"sample\.csv holds verdicts .* save it as verdicts_"):
        export_sample(sample, folder)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [CONFIG_NAME, TASKS_NAME, CSV_NAME]
    )


def test_label_studio_gets_tasks_and_an_interface(tmp_path: Path) -> None:
    text = '<b>&"文'
    export_sample(sample_of([text]), UPath(tmp_path))
    tasks = json.loads((tmp_path / TASKS_NAME).read_text("utf-8"))
    assert tasks == [{"data": {"doc_id": "d0", "source": "s", "text": text}}]
    view = ET.fromstring((tmp_path / CONFIG_NAME).read_text("utf-8"))
    assert [choice.get("value") for choice in view.iter("Choice")] == list(VERDICTS)
    (shown,) = view.iter("Text")
    assert shown.get("value") == "$text"
    assert {control.get("toName") for control in view if control.tag != "Text"} == {"text"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_is_read_as_spreadsheets_save_it(tmp_path: Path, encoding: str, separator: str) -> None:
    rows = [["doc_id", "text", "verdict", "comment"], ["d1", "很好的一本书", "Valid ", ""]]
    rows += [["d2", "内容不完整", "off-topic", "广告，不是书评"], ["d3", "还没有看", "", ""]]
    content = "\r\n".join(separator.join(row) for row in rows)
    (tmp_path / "verdicts_li.csv").write_bytes(content.encode(encoding))
    read = read_verdicts([UPath(tmp_path / "verdicts_li.csv")])
    assert [tuple(row.values()) for row in read.verdicts.to_pylist()] == [
        ("d1", "verdicts_li", "valid", None, "verdicts_li.csv:2"),
        ("d2", "verdicts_li", "off_topic", "广告，不是书评", "verdicts_li.csv:3"),
    ]
    assert (read.unjudged, read.rejected.num_rows, read.rows) == (1, 0, 3)


def test_broken_rows_are_reported_with_file_and_line_and_lose_no_other(tmp_path: Path) -> None:
    lines = ["doc_id,text,verdict", "d1,文,valid", 'd2,"two', 'lines",good', "d3,文", ",文,valid"]
    (tmp_path / "verdicts_a.csv").write_text("\n".join([*lines, "d1,文,blank", "d4,文,blank"]))
    (tmp_path / "verdicts_b.csv").write_text("id,label\nd1,valid\n")
    (tmp_path / "verdicts_c.json").write_text("[{")
    read = read_verdicts(verdict_files(SpotCheck(verdicts="verdicts*"), UPath(tmp_path)))
    assert read.verdicts["doc_id"].to_pylist() == ["d1", "d4"]
    assert [(row["origin"], row["rule"]) for row in read.rejected.to_pylist()] == [
        ("verdicts_a.csv:3", "unknown_verdict"),
        ("verdicts_a.csv:5", "broken_row"),
        ("verdicts_a.csv:6", "required"),
        ("verdicts_a.csv:7", "repeated"),
        ("verdicts_b.csv:1", "broken_row"),
        ("verdicts_c.json", "broken_row"),
    ]
    assert "'good' is no verdict; write one of valid, blank" in read.rejected["reason"][0].as_py()


def test_label_studios_export_has_several_annotations_a_task(tmp_path: Path) -> None:
    def annotation(who: object, verdict: str, *more: Any) -> dict[str, Any]:
        chosen = {"from_name": "verdict", "type": "choices", "value": {"choices": [verdict]}}
        return {"completed_by": who, "was_cancelled": False, "result": [chosen, *more]}

    comment = {"from_name": "comment", "type": "textarea", "value": {"text": ["半句", "截断"]}}
    skipped = {"completed_by": 3, "was_cancelled": True, "result": []}
    several = [
        annotation(1, "valid"),
        annotation({"id": 2, "email": "li@x.cn"}, "garbled", comment),
    ]
    tasks = [
        {"id": 7, "data": {"doc_id": "d1"}, "annotations": [*several, skipped]},
        {"id": 8, "data": {"doc_id": "d2"}, "annotations": []},
        {"id": 9, "data": {"doc_id": "d3"}, "annotations": [{"completed_by": 1}]},
        {"id": 10, "doc_id": "d4", "verdict": "valid"},
    ]
    (tmp_path / "verdicts.json").write_text(json.dumps(tasks))
    read = read_verdicts([UPath(tmp_path / "verdicts.json")])
    assert [tuple(row.values())[:4] for row in read.verdicts.to_pylist()] == [
        ("d1", "label_studio_1", "valid", None),
        ("d1", "label_studio_li@x.cn", "garbled", "半句\n截断"),
    ]
    assert read.unjudged == 2
    assert read.rejected["origin"].to_pylist() == [
        "verdicts.json: task 3, annotation 1",
        "verdicts.json: task 4",
    ]


def test_no_file_is_no_error(tmp_path: Path) -> None:
    assert verdict_files(SpotCheck(), UPath(tmp_path)) == []
    assert read_verdicts([]).rows == 0
