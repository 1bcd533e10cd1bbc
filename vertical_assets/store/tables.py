"""Tables: Arrow batches streamed into Parquet; the version is a digest of the file's bytes.

Batches of any size are regrouped into row groups of one fixed size, so that the same rows give
the same bytes, hence the same data version, however they were produced.
"""

from collections.abc import Iterable, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from upath import UPath

from vertical_assets.store.versions import Staged, new_staging

ROWS_PER_GROUP = 65_536
PREVIEW_ROWS = 5


class _Hashing:
    """A file that digests what is written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest, self.closed = file, xxhash.xxh3_128(), False

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self.digest.update(view)
        return self.file.write(view) or view.nbytes

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        self.closed = True


def stage_table(root: UPath, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Staged:
    """Streams batches to a Parquet file in staging.

    Args:
        root: the store's root.
        schema: columns; every batch is cast to it.
        batches: rows, in any batch size.
    """
    staging = new_staging(root)
    rows, preview = 0, list[dict[str, Any]]()
    with (staging / "part-0.parquet").open("wb") as file:
        sink = _Hashing(file)
        with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
            for group in _regrouped(batches, schema):
                if not preview:
                    preview = group.slice(0, PREVIEW_ROWS).to_pylist()
                writer.write_table(group, row_group_size=ROWS_PER_GROUP)
                rows += group.num_rows
        size = file.tell()
    return Staged(staging, sink.digest.hexdigest(), size, rows, schema, tuple(preview))


def _regrouped(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch.cast(schema))
        count += batch.num_rows
        while count >= ROWS_PER_GROUP:
            table = pa.Table.from_batches(held, schema)
            yield table.slice(0, ROWS_PER_GROUP).combine_chunks()
            held = table.slice(ROWS_PER_GROUP).to_batches()
            count -= ROWS_PER_GROUP
    if count:
        yield pa.Table.from_batches(held, schema).combine_chunks()
