"""Flow: parts go from table to table; what has been done to a part once is not done again.

The rows of a source file stay together as a part from `raw_corpus` to `dedup_corpus`. Each function
here takes a table's parts and writes those of the next one; the key of a part is a digest of the
part that it is made from and of everything else that it depends on.
"""

from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from upath import UPath

from vertical_assets.corpus.dedup import Clusters, Sketch, cluster, sketch
from vertical_assets.corpus.pipeline import Cleaning
from vertical_assets.corpus.rules import apply_rules, repeated
from vertical_assets.corpus.sources import parts_of, read_part
from vertical_assets.spec import Source, VerticalSpec
from vertical_assets.store import Table
from vertical_assets.store.tables import TableWriter, grouped
from vertical_assets.store.tombstones import Tombstones
from vertical_assets.store.versions import Part


def key_of(*made_from: object) -> str:
    """The key of a part: a digest of what it is made from."""
    return xxhash.xxh3_128_hexdigest(repr(made_from).encode())


def collect(
    source: Source, spec: VerticalSpec, folder: UPath, gone: Tombstones, raw: TableWriter
) -> None:
    """Files of a source -> RAW_DOCUMENTS; files that are unchanged are not read again.

    Figures: rows `read`, `rejected`, `forgotten`, and `characters`.

    Raises:
        SourceError: nothing can be read at all.
    """
    for part in parts_of(source, folder):
        key = key_of(source, spec.language, gone.digest(source.name), part.name, part.fingerprint)
        if raw.reuse(key):
            continue
        with raw.part(key) as written:
            for batch in read_part(part, source, spec.language):
                stays = pc.invert(gone.forgotten(batch))
                kept = batch.filter(stays)
                written.figures["read"] += batch.num_rows
                written.figures["forgotten"] += batch.num_rows - kept.num_rows
                written.figures["rejected"] += len(kept) - kept["rule"].null_count
                written.figures["characters"] += pc.sum(pc.utf8_length(kept["text"])).as_py() or 0
                written.append(kept)


def sort_out(
    raw: Table, spec: VerticalSpec, today: date, valid: TableWriter, quarantine: TableWriter
) -> None:
    """RAW_DOCUMENTS -> DOCUMENTS that pass every rule, and QUARANTINE.

    Figures of `valid`: rows and characters by source, kind and language; of `quarantine`: rows by
    source and rule.
    """
    groups = list(grouped(raw.parts()))
    twice = repeated(
        batch["doc_id"] for group in groups for part in group for batch in part.batches(["doc_id"])
    )
    # Only rules that look at the date make a part depend on it.
    day = today if any(rule.max == "today" for rule in spec.rules.fields) else None
    start = 0
    for group in groups:
        size = sum(part.rows for part in group)
        seen = twice[start : start + size]
        start += size
        key = key_of(
            spec.rules, day, [part.digest for part in group], np.flatnonzero(seen).tolist()
        )
        if valid.has(key) and quarantine.has(key):
            valid.reuse(key)
            quarantine.reuse(key)
            continue
        with valid.part(key) as good, quarantine.part(key) as bad:
            place = 0
            for batch in batches_of(group):
                mask = seen[place : place + batch.num_rows]
                place += batch.num_rows
                kept, rejected = apply_rules(batch, spec.rules, today=today, repeated=mask)
                good.append(kept)
                bad.append(rejected)


def clean(valid: Table, spec: VerticalSpec, folder: UPath, cleaned: TableWriter) -> None:
    """DOCUMENTS -> CLEAN_DOCUMENTS. Figures: replacements by type."""
    cleaning = Cleaning(spec, folder)
    for part in valid.parts():
        key = key_of(cleaning.identity, part.digest)
        if cleaned.reuse(key):
            continue
        with cleaned.part(key) as written:
            for batch in part.batches():
                result, figures = cleaning(batch)
                written.figures.update(figures)
                written.append(result)


def batches_of(parts: Sequence[Part]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        yield from part.batches()
