"""The same rows have the same digest, whatever carries them; other rows have another."""

import decimal
import io
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.store.content import ContentDigest
from vertical_assets.store.contracts import CLEAN_DOCUMENTS

COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "flag": (pa.bool_(), st.booleans()),
    "number": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "value": (pa.float64(), st.floats(allow_nan=False)),
    "text": (pa.string(), st.text(max_size=5)),
    "long": (pa.large_string(), st.text(max_size=5)),
    "raw": (pa.binary(), st.binary(max_size=5)),
    "id": (pa.binary(4), st.binary(min_size=4, max_size=4)),
    "price": (pa.decimal128(9, 2), st.decimals(-999, 999, places=2)),
    "day": (pa.date32(), st.dates()),
    "words": (pa.list_(pa.string()), st.lists(st.none() | st.text(max_size=3), max_size=3)),
    "pair": (
        pa.struct([("a", pa.int32()), ("b", pa.list_(pa.bool_()))]),
        st.fixed_dictionaries(
            {"a": st.none() | st.integers(0, 9), "b": st.none() | st.lists(st.booleans())}
        ),
    ),
}
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in COLUMNS.items()])
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, (_, values) in COLUMNS.items()}),
    max_size=12,
)


def digest(schema: pa.Schema, *batches: pa.RecordBatch) -> str:
    content = ContentDigest(schema)
    for batch in batches:
        content.update(batch)
    return content.hexdigest()


def batch(rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema)


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 12), max_size=4), sliced=st.booleans())
def test_batches_and_slices_do_not_matter(
    rows: list[dict[str, Any]], cuts: list[int], sliced: bool
) -> None:
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    whole = batch(rows)
    parts = [whole.slice(a, b - a) if sliced else batch(rows[a:b]) for a, b in pairwise(edges)]
    assert digest(SCHEMA, *parts) == digest(SCHEMA, whole)


@settings(max_examples=25, deadline=None)
@given(first=ROWS, second=ROWS)
def frozen_digests_are_equal_exactly_when_the_rows_are(
    first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    one, other = batch(first), batch(second)
    # By representation: 0.0 and -0.0 are equal numbers and different values.
    equal = repr(one.to_pylist()) == repr(other.to_pylist())
    assert (digest(SCHEMA, one) == digest(SCHEMA, other)) == equal


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (pa.string(), ["ab", "c"], ["a", "bc"]),
        (pa.string(), ["", None], [None, ""]),
        (pa.string(), ["a", "b"], ["b", "a"]),
        (pa.int64(), [0, None], [None, 0]),
        (pa.float64(), [0.0], [-0.0]),
        (pa.list_(pa.string()), [["a"], ["b"]], [["a", "b"], []]),
        (pa.list_(pa.string()), [[], ["a"]], [None, ["a"]]),
        (pa.list_(pa.string()), [[None]], [[""]]),
        (pa.struct([("a", pa.int8())]), [None], [{"a": None}]),
        (pa.decimal128(5, 1), [decimal.Decimal("0.1")], [decimal.Decimal("1.0")]),
    ],
)
def test_rows_that_are_easily_mixed_up_differ(
    kind: pa.DataType, one: list[Any], other: list[Any]
) -> None:
    schema = pa.schema([("c", kind)])
    digests = {
        digest(schema, pa.record_batch([pa.array(values, kind)], schema=schema))
        for values in (one, other)
    }
    assert len(digests) == 2


def test_bytes_under_nulls_do_not_matter() -> None:
    schema = pa.schema([("c", pa.int32()), ("s", pa.string())])

    def hidden(garbage: int, text: bytes) -> pa.RecordBatch:
        there = pa.array([True, False, True]).buffers()[1]
        numbers = pa.array([1, garbage, 3], pa.int32()).buffers()[1]
        offsets = pa.array([0, 1, 1 + len(text), 2 + len(text)], pa.int32()).buffers()[1]
        data = pa.py_buffer(b"a" + text + b"b")
        return pa.record_batch(
            [
                pa.Array.from_buffers(pa.int32(), 3, [there, numbers]),
                pa.Array.from_buffers(pa.string(), 3, [there, offsets, data]),
            ],
            schema=schema,
        )

    assert hidden(2, b"xyz").to_pylist() == hidden(9, b"").to_pylist()
    assert digest(schema, hidden(2, b"xyz")) == digest(schema, hidden(9, b""))


def test_names_and_types_count_and_descriptions_do_not() -> None:
    rows = [{"c": 1}]
    schemas = [
        pa.schema([pa.field("c", pa.int64(), metadata={"description": "a number"})]),
        pa.schema([pa.field("c", pa.int64())]),
        pa.schema([pa.field("c", pa.int32())]),
        pa.schema([pa.field("c", pa.float64())]),
    ]
    first, second, *others = [digest(schema, batch(rows, schema)) for schema in schemas]
    assert first == second
    renamed = pa.schema([pa.field("d", pa.int64())])
    assert len({first, *others, digest(renamed, batch([{"d": 1}], renamed))}) == 4
    assert digest(SCHEMA) != digest(schemas[0])


def test_dictionary_encoding_does_not_matter() -> None:
    plain = pa.array(["a", None, "b", "a"])
    schema = pa.schema([("c", plain.type)])
    encoded = [
        plain.dictionary_encode(),
        pa.DictionaryArray.from_arrays([1, 2, 0, 1], ["b", "a", None]),
    ]
    for array in encoded:
        assert digest(schema, pa.record_batch([array], names=["c"])) == digest(
            schema, pa.record_batch([plain], names=["c"])
        )


def test_a_table_read_back_from_parquet_has_its_digest_still() -> None:
    row: dict[str, Any] = dict.fromkeys(CLEAN_DOCUMENTS.names, "x") | {"words": ["高血压", "病"]}
    table = pa.Table.from_pylist([row] * 5, CLEAN_DOCUMENTS)
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=2)
    read = pq.read_table(file)
    assert digest(CLEAN_DOCUMENTS, *read.to_batches()) == digest(
        CLEAN_DOCUMENTS, *table.to_batches()
    )


def test_the_digest_stays_what_it_is_between_releases() -> None:
    """A changed digest would make every table of every store unsynced."""
    schema = pa.schema(
        [("doc_id", pa.string()), ("words", pa.list_(pa.string())), ("n", pa.int64())]
    )
    rows: list[dict[str, Any]] = [
        {"doc_id": "a", "words": ["高血压", None], "n": 1},
        {"doc_id": None, "words": [], "n": None},
    ]
    assert digest(schema, batch(rows, schema)) == "75927f05d1ddcc58bee447aaed637102"


def test_what_it_can_not_digest_it_refuses() -> None:
    schema = pa.schema([("c", pa.map_(pa.string(), pa.int32()))])
    with pytest.raises(TypeError, match=r"column 'c': map<.* cast it"):
        digest(schema, batch([{"c": [("a", 1)]}], schema))
    with pytest.raises(ValueError, match="cast the batch"):
        digest(SCHEMA, pa.record_batch([[1]], names=["c"]))
