"""The whole of cleaning, and the second pass that checks it."""

import json
import subprocess
import sys

import pyarrow as pa
from upath import UPath

from vertical_assets.corpus.cleaning.pipeline import NUMBERS, Cleaning
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import CLEAN_DOCUMENTS, DOCUMENTS
from vertical_assets_tests.conftest import reviews, tiny


def test_a_second_pass_finds_what_the_first_left(tmp_path: UPath) -> None:
    cleaning = Cleaning(VerticalSpec(**tiny(clean={"numbers": "digits"})), UPath(tmp_path))
    texts = [f"{row['text']} 花了三百五十元，电话13800138000" for row in reviews(40)]
    rows = [
        {**dict.fromkeys(DOCUMENTS.names, ""), "doc_id": str(n), "text": text, "meta": "{}"}
        for n, text in enumerate(texts)
    ]
    (batch,) = pa.Table.from_pylist(rows, DOCUMENTS).to_batches()
    cleaned, _ = cleaning(batch)
    assert not cleaning.left(cleaned)
    place = CLEAN_DOCUMENTS.get_field_index("text")
    undone = cleaned.set_column(place, CLEAN_DOCUMENTS.field(place), batch["text"])
    left = cleaning.left(undone)
    assert left["PHONE"] == 40
    assert left[NUMBERS] >= 40


def documents(*metas: dict[str, object]) -> pa.RecordBatch:
    rows = [
        {
            **dict.fromkeys(DOCUMENTS.names, ""),
            "doc_id": str(number),
            "meta": json.dumps(meta, ensure_ascii=False),
        }
        for number, meta in enumerate(metas)
    ]
    return pa.Table.from_pylist(rows, DOCUMENTS).to_batches()[0]


def test_meta_is_read_as_what_it_says_not_as_it_is_written(tmp_path: UPath) -> None:
    """In JSON a new line is a backslash and an n, which would stand before the number."""
    cleaning = Cleaning(VerticalSpec(**tiny()), UPath(tmp_path))
    batch = documents(
        {"contact": "张三\n13812345678"},
        {"note": "Seen by\nMr. Smith", "shop": "x"},
        {"a": {"b": ["x\t13812345678", 13812345678]}},
        {"shop": "x", "stars": 5, "open": True},
    )
    before = cleaning.left(cleaning(documents({}))[0])
    cleaned, counts = cleaning(batch)
    assert not before
    assert not cleaning.left(cleaned)
    metas = [json.loads(meta) for meta in cleaned["meta"].to_pylist()]
    assert metas[3] == {"shop": "x", "stars": 5, "open": True}
    assert metas[1]["shop"] == "x"
    assert "Smith" not in metas[1]["note"]
    assert not any("13812345678" in json.dumps(meta) for meta in metas)
    assert isinstance(metas[2]["a"]["b"], list)
    assert counts["deidentify\tPHONE"] == 3
    names = [change["field"] for change in json.loads(cleaned["changes"][2].as_py())]
    assert names == ["a.b.0", "a.b.1"]
    undone = cleaned.set_column(
        CLEAN_DOCUMENTS.get_field_index("meta"), CLEAN_DOCUMENTS.field("meta"), batch["meta"]
    )
    assert cleaning.left(undone)["PHONE"] == 3


IDENTITY = """
from upath import UPath
from vertical_assets.corpus.cleaning.pipeline import Cleaning
from vertical_assets.spec import VerticalSpec
from vertical_assets_tests.conftest import tiny
spec = VerticalSpec(**tiny(deidentify={{"names": [{{"path": "names.txt"}}]}}))
print(Cleaning(spec, UPath({folder!r})).identity)
"""


def test_parts_are_known_again_in_another_process(tmp_path: UPath) -> None:
    def identity() -> str:
        command = [sys.executable, "-c", IDENTITY.format(folder=str(tmp_path))]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    (tmp_path / "names.txt").write_text("白雪\n")
    once = identity()
    assert identity() == once
    (tmp_path / "names.txt").write_text("白雪\n张伟\n")
    assert identity() != once
