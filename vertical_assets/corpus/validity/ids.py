"""Ids: documents whose id was seen before, found over a whole column with bounded memory."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ROWS_AT_ONCE = 65_536


def repeated(ids: Iterable[pa.Array]) -> Iterator[NDArray[np.bool_]]:
    """For each chunk of a `doc_id` column: which rows' id stood earlier in the column.

    Ids are 128-bit numbers in hexadecimal, kept as 16 bytes each and sorted once: 2 M of them take
    about 85 MB at the peak.

    Raises:
        ValueError: an id does not have 32 hexadecimal digits.
    """
    chunks = [_as_numbers(chunk) for chunk in ids]
    sizes = [len(chunk) for chunk in chunks]
    keys = np.concatenate([*chunks, np.empty((0, 2), np.uint64)])
    del chunks
    order = np.lexsort(keys.T)  # stable: equal ids stay in the order of the column
    later = np.zeros(len(keys), bool)
    previous = np.zeros(2, np.uint64)
    for start in range(0, len(keys), ROWS_AT_ONCE):
        rows = order[start : start + ROWS_AT_ONCE]
        block = keys[rows]
        shifted = np.vstack([previous, block[:-1]])
        later[rows] = (block == shifted).all(axis=1)
        previous = block[-1]
        if not start:
            later[rows[0]] = False
    yield from np.split(later, np.cumsum(sizes)[:-1])


def _as_numbers(ids: pa.Array) -> NDArray[np.uint64]:
    lengths = pc.utf8_length(ids)
    try:
        if pc.any(pc.not_equal(lengths, 32)).as_py():
            raise ValueError("an id has another length")
        digits = bytes.fromhex("".join(ids.to_pylist()))
    except ValueError as error:
        raise ValueError(f"doc_id: 32 hexadecimal digits are wanted: {error}") from error
    return np.frombuffer(digits, np.uint64).reshape(-1, 2)
