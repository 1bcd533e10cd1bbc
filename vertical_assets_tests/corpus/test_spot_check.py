"""Spot check: a sample that hardly moves, verdicts that survive spreadsheets, a known interval."""

import csv
import json
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from vertical_assets.corpus.spot_check import (
    CELL_CHARS,
    CONFIG_NAME,
    CSV_NAME,
    TASKS_NAME,
    VERDICTS,
    SpotCheckError,
    draw_sample,
    export_sample,
    judge,
    read_verdicts,
    validity,
    verdict_files,
    wilson_interval,
)
from vertical_assets.spec import SpotCheck
from vertical_assets.store.contracts import SPOT_CHECK, SPOT_VERDICTS

Row = dict[str, Any]


def document(number: int, source: str = "s", language: str = "zh", text: str = "文") -> Row:
    return {"doc_id": f"d{number}", "source": source, "language": language, "text": text}


def sample_of(rows: list[Row], size: int = 10, seed: int = 0) -> pa.Table:
    return draw_sample(pa.Table.from_pylist(rows).to_batches(max_chunksize=7), size, seed)


def ids(sample: pa.Table) -> set[str]:
    return set(sample["doc_id"].to_pylist())


def said(*verdicts: tuple[str, str, str]) -> pa.Table:
    names = ("doc_id", "annotator_id", "verdict")
    rows = [{**dict(zip(names, row, strict=True)), "origin": "f:1"} for row in verdicts]
    return pa.Table.from_pylist(rows, SPOT_VERDICTS)


CORPORA = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["zh", "en"])), min_size=1)


@given(corpus=CORPORA, size=st.integers(1, 40), seed=st.integers(0, 3), data=st.data())
def test_the_sample_is_stratified_stable_and_blind_to_order(
    corpus: list[tuple[str, str]], size: int, seed: int, data: st.DataObject
) -> None:
    rows = [document(number, *stratum) for number, stratum in enumerate(corpus)]
    sample = sample_of(rows, size, seed)
    strata = set(corpus)
    assert sample.num_rows == min(len(rows), max(size, len(strata)))
    drawn = zip(sample["source"].to_pylist(), sample["language"].to_pylist(), strict=True)
    assert set(drawn) == strata
    assert sample_of(data.draw(st.permutations(rows)), size, seed).equals(sample)
    assert ids(sample) <= ids(sample_of(rows, size + 1, seed))
    added = [*rows, document(len(rows), *data.draw(st.sampled_from(corpus)))]
    assert len(ids(sample) - ids(sample_of(added, size, seed))) <= 2


def test_places_are_proportional_with_one_at_least() -> None:
    rows = [document(n, "big" if n < 900 else "small") for n in range(999)]
    rows.append(document(1000, "tiny"))
    sample = sample_of(rows, 100)
    assert Counter(sample["source"].to_pylist()) == {"big": 89, "small": 10, "tiny": 1}
    assert ids(sample_of(rows, 100, seed=1)) != ids(sample)


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
    rows = [document(n, text=text) for n, text in enumerate([*HOSTILE, "长" * 40_000])]
    export_sample(sample_of(rows, 50), UPath(tmp_path / "spot_check"))
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
    sample = sample_of([document(1)])
    export_sample(sample, folder)
    export_sample(sample, folder)  # nobody wrote anything yet
    (tmp_path / CSV_NAME).write_text("doc_id,source,text,verdict,comment\nd1,s,文,valid,\n")
    with pytest.raises(SpotCheckError, match=r"sample\.csv holds verdicts .* save it as verdicts_"):
        export_sample(sample, folder)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [CONFIG_NAME, TASKS_NAME, CSV_NAME]
    )


def test_label_studio_gets_tasks_and_an_interface(tmp_path: Path) -> None:
    text = '<b>&"文'
    export_sample(sample_of([document(1, text=text)]), UPath(tmp_path))
    tasks = json.loads((tmp_path / TASKS_NAME).read_text("utf-8"))
    assert tasks == [{"data": {"doc_id": "d1", "source": "s", "text": text}}]
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
    def annotation(who: object, verdict: str, *more: Row) -> Row:
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


def test_a_document_counts_once_by_the_majority_and_is_not_valid_on_a_tie() -> None:
    sample = sample_of([document(n) for n in range(5)])
    judged = judge(
        sample,
        said(
            ("d1", "a", "valid"), ("d1", "b", "valid"), ("d1", "c", "blank"),
            ("d2", "a", "valid"), ("d2", "b", "garbled"),
            ("d3", "a", "off_topic"), ("d3", "b", "blank"), ("d3", "c", "off_topic"),
            ("gone", "a", "valid"), ("gone", "b", "valid"),
        ),
    )  # fmt: skip
    rows = {row["doc_id"]: (row["verdict"], row["verdicts"]) for row in judged.sample.to_pylist()}
    assert rows == {
        "d0": (None, 0), "d1": ("valid", 3), "d2": ("garbled", 2), "d3": ("off_topic", 3),
        "d4": (None, 0),
    }  # fmt: skip
    assert judged.sample.schema.equals(SPOT_CHECK)
    assert judged.outside == 2


def test_validity_overall_and_by_stratum() -> None:
    rows = [document(n, "a") for n in range(4)] + [document(9, "b", "en")]
    judged = judge(
        sample_of(rows), said(*((f"d{n}", "x", "valid" if n else "blank") for n in range(3)))
    )
    overall, first, second = validity(judged.sample).to_pylist()
    assert (overall["scope"], overall["sampled"], overall["judged"]) == ("overall", 5, 3)
    assert (overall["valid"], overall["rate"]) == (2, 2 / 3)
    assert (overall["low"], overall["high"]) == wilson_interval(2, 3)
    assert (first["source"], first["language"], first["judged"]) == ("a", "zh", 3)
    assert (second["source"], second["judged"], second["rate"], second["low"]) == (
        "b",
        0,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_has_the_published_ends(
    successes: int, trials: int, low: float, high: float
) -> None:
    """Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I."""
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@given(
    trials=st.integers(1, 10_000), share=st.floats(0, 1), level=st.sampled_from([0.9, 0.95, 0.99])
)
def test_wilsons_interval_holds_the_rate(trials: int, share: float, level: float) -> None:
    successes = round(share * trials)
    low, high = wilson_interval(successes, trials, level)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = wilson_interval(trials - successes, trials, level)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_no_trials_have_no_interval() -> None:
    with pytest.raises(ValueError, match="0 successes in 0 trials"):
        wilson_interval(0, 0)
