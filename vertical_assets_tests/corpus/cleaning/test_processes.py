"""Cleaning in processes gives what cleaning in one gives, in the same order."""

import pyarrow as pa
from upath import UPath

from vertical_assets.corpus.cleaning.pipeline import Cleaning
from vertical_assets.corpus.cleaning.processes import Workers, cleaned_batches
from vertical_assets.spec import VerticalSpec
from vertical_assets.store.contracts import DOCUMENTS
from vertical_assets_tests.conftest import reviews, tiny


def test_processes_clean_as_one_does(tmp_path: UPath) -> None:
    spec = VerticalSpec(**tiny(clean={"numbers": "digits", "simplify": True}))
    given = [f"{row['text']} 电话13800138000，花了三百五十元" for row in reviews(60)]
    blank = dict.fromkeys(DOCUMENTS.names, "")
    rows = [{**blank, "doc_id": str(n), "text": text, "meta": "{}"} for n, text in enumerate(given)]
    batches = pa.Table.from_pylist(rows, DOCUMENTS).to_batches(7)
    cleaning = Cleaning(spec, UPath(tmp_path))
    alone = list(cleaned_batches(batches, cleaning, None))
    with Workers(spec, UPath(tmp_path)) as workers:
        together = list(cleaned_batches(batches, cleaning, workers))
    assert together == alone
    assert sum(counts["numbers\tdigits"] for _, counts, _ in alone) >= 60
    assert "13800138000" not in str(alone[0][0]["text"].to_pylist())
