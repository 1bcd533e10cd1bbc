"""Content digest: the same rows have the same digest, in whatever batches and files they come.

It is taken of values, not of a file's bytes: encrypted bytes differ each time, compressed ones
with the library's version. Every column feeds byte streams of its own - which values are there,
how long each is, and the values end to end - so that no stream depends on where a batch ends.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
import xxhash


class ContentDigest:
    """xxh3-128 of a table's rows, in constant memory.

    Names, types and order of columns count, and values and order of rows; field descriptions
    don't, nor how a dictionary is laid out, slices and padding. The digest is no
    secret keeper: whoever can guess a whole table can confirm the guess by it.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._columns = _columns(schema)
        self._streams: dict[str, xxhash.xxh3_128] = {}
        self.rows = 0

    def update(self, batch: pa.RecordBatch) -> None:
        """Adds rows.

        Raises:
            ValueError: the batch has other columns than the schema.
            TypeError: a type that has no canonical bytes here (map, union, view).
        """
        if (columns := _columns(batch.schema)) != self._columns:
            raise ValueError(f"columns {columns} where {self._columns} are wanted; cast the batch")
        self.rows += batch.num_rows
        for number, (name, array) in enumerate(zip(batch.schema.names, batch, strict=True)):
            for stream, data in _streams(array, str(number), name):
                if len(data):
                    self._streams.setdefault(stream, xxhash.xxh3_128()).update(data)

    def hexdigest(self) -> str:
        """The digest of all rows so far, 32 hexadecimal digits."""
        whole = xxhash.xxh3_128(f"{self.rows}\n".encode())
        for name, kind in self._columns:
            whole.update(f"{len(name)} {name} {kind}\n".encode())
        for stream, digest in sorted(self._streams.items()):
            whole.update(f"{stream} {digest.hexdigest()}\n".encode())
        return whole.hexdigest()


def _columns(schema: pa.Schema) -> list[tuple[str, str]]:
    return [(field.name, _kind(field.type)) for field in schema]


def _kind(kind: pa.DataType) -> str:
    """A type's name, without what Parquet changes: the name of a list's items, say."""
    if pt.is_dictionary(kind):
        return _kind(kind.value_type)
    if pt.is_list(kind) or pt.is_large_list(kind):
        return f"list<{_kind(kind.value_type)}>"
    if pt.is_fixed_size_list(kind):
        return f"list<{_kind(kind.value_type)}>[{kind.list_size}]"
    if pt.is_struct(kind):
        return f"struct<{', '.join(f'{f.name!r}: {_kind(f.type)}' for f in kind)}>"
    return str(kind)


def _streams(array: pa.Array, path: str, column: str) -> Iterator[tuple[str, Any]]:
    """Byte streams of one column; those of consecutive arrays are joined end to end."""
    if pt.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    yield f"{path} there", _values(array.is_valid().cast(pa.uint8()))
    if pt.is_null(kind):
        return
    array = array.drop_null() if array.null_count else array
    if not len(array):  # its buffers may not be there
        return
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        yield f"{path} lengths", _values(pc.list_value_length(array).cast(pa.int64()))
        yield from _streams(array.flatten(), f"{path} items", column)
    elif pt.is_struct(kind):
        for number, child in enumerate(array.flatten()):
            yield from _streams(child, f"{path}.{number}", column)
    elif pt.is_boolean(kind):
        yield f"{path} values", _values(array.cast(pa.uint8()))
    elif pt.is_string(kind) or pt.is_binary(kind):
        yield from _strings(array, path, np.int32)
    elif pt.is_large_string(kind) or pt.is_large_binary(kind):
        yield from _strings(array, path, np.int64)
    elif pt.is_primitive(kind) or pt.is_decimal(kind) or pt.is_fixed_size_binary(kind):
        yield f"{path} values", _values(array)
    else:
        raise TypeError(f"column {column!r}: {kind} has no canonical bytes; cast it before")


def _values(array: pa.Array) -> Any:
    """The bytes of an array whose values all have one width, without nulls."""
    width = array.type.bit_width // 8
    buffer = array.buffers()[1]
    return buffer.slice(array.offset * width, len(array) * width) if buffer else b""


def _strings(
    array: pa.Array, path: str, offset: type[np.signedinteger]
) -> Iterator[tuple[str, Any]]:
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, offset)[array.offset : array.offset + len(array) + 1]
    yield f"{path} lengths", np.diff(bounds)
    yield f"{path} values", data.slice(bounds[0], bounds[-1] - bounds[0]) if data else b""
