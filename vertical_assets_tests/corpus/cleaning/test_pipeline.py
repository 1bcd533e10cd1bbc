"""The whole of cleaning, and the second pass that checks it."""

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
