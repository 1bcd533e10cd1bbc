"""Flow: parts go from table to table; what has been done to a part once is not done again.

The rows of a source file stay together as a part from `raw_corpus` to `dedup_corpus`. Each function
here takes a table's parts and writes those of the next one; the key of a part is a digest of the
part that it is made from and of everything else that it depends on.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray
from upath import UPath

from vertical_assets.corpus import VERSION
from vertical_assets.corpus.authors.anonymity import replace_attributes
from vertical_assets.corpus.cleaning.cleaning import clean_batch
from vertical_assets.corpus.cleaning.pipeline import Cleaning
from vertical_assets.corpus.cleaning.processes import MANY_ROWS, Workers, cleaned_batches
from vertical_assets.corpus.dedup.dedup import SKETCHES, Duplicates, cluster, sketches
from vertical_assets.corpus.dedup.founders import clusters_of
from vertical_assets.corpus.dedup.ngrams import code_points, first_with_digest, hash_ngrams
from vertical_assets.corpus.reading.sources import drop_folder, parts_of, read_part, work_folder
from vertical_assets.corpus.validity.diversity import diversity_figures
from vertical_assets.corpus.validity.ids import repeated
from vertical_assets.corpus.validity.rules import apply_rules
from vertical_assets.spec import Clean, Source, VerticalSpec
from vertical_assets.store import Table
from vertical_assets.store.tables import TableWriter, grouped
from vertical_assets.store.tombstones import FILE as TOMBSTONES
from vertical_assets.store.tombstones import Tombstones
from vertical_assets.store.tombstones import read as read_tombstones
from vertical_assets.store.versions import Part

__all__ = ["SKETCHES", "clean", "collect", "deduplicate", "distinct_texts", "sort_out"]

_SKETCHED = ["doc_id", "source", "published_at", "text"]


def key_of(*made_from: object) -> str:
    """The key of a part: a digest of what it is made from, and of the code that makes it."""
    return xxhash.xxh3_128_hexdigest(repr((VERSION, *made_from)).encode())


def collect(
    source: Source, spec: VerticalSpec, folder: UPath, gone: Tombstones, raw: TableWriter
) -> None:
    """Files of a source -> RAW_DOCUMENTS; files that are unchanged are not read again.

    Figures: rows `read`, `rejected`, `forgotten`, and `characters`.

    Raises:
        SourceError: nothing can be read at all.
    """
    known = work_folder(spec.name) / "fingerprints" / f"{source.name}.json"
    for part in parts_of(source, folder, known):
        key = key_of(source, spec.language, gone.digest(source.name), part.name, part.fingerprint)
        if raw.reuse(key):
            continue
        with raw.part(key) as written:
            for batch in read_part(part, source, spec.language):
                kept = batch.filter(pc.invert(gone.forgotten(batch)))
                written.figures["read"] += batch.num_rows
                written.figures["forgotten"] += batch.num_rows - kept.num_rows
                written.figures["rejected"] += len(kept) - kept["rule"].null_count
                written.figures["characters"] += pc.sum(pc.utf8_length(kept["text"])).as_py() or 0
                written.append(kept)


def sort_out(
    raw: Table,
    spec: VerticalSpec,
    today: date,
    valid: TableWriter,
    quarantine: TableWriter,
) -> None:
    """RAW_DOCUMENTS -> DOCUMENTS that pass every rule, and QUARANTINE.

    Small parts go on together. Figures of `valid`: rows and characters by source, kind and
    language; of `quarantine`: rows by source and rule.
    """
    groups = list(grouped(raw.parts()))
    masks = repeated(
        pa.chunked_array([b["doc_id"] for b in batches_of(group, ["doc_id"])], pa.string())
        for group in groups
    )
    # Only rules that look at the date make a part depend on it.
    day = today if any(rule.max == "today" for rule in spec.rules.fields) else None
    for group, seen in zip(groups, masks, strict=True):
        made_from = [part.digest for part in group]
        key = key_of(spec.rules, spec.clean, day, made_from, np.flatnonzero(seen).tolist())
        if valid.has(key) and quarantine.has(key):
            valid.reuse(key)
            quarantine.reuse(key)
            continue
        with valid.part(key) as good, quarantine.part(key) as bad:
            place = 0
            for batch in batches_of(group):
                mask = seen[place : place + batch.num_rows]
                place += batch.num_rows
                batch = mark_emptied(batch, spec.clean)
                kept, rejected = apply_rules(batch, spec.rules, today=today, repeated=mask)
                good.append(kept)
                good.figures.update(diversity_figures(kept))
                bad.append(rejected)
                bad.figures.update(
                    map(
                        "\t".join,
                        zip(*(rejected[n].to_pylist() for n in ("source", "rule")), strict=True),
                    )
                )


def mark_emptied(batch: pa.RecordBatch, policy: Clean) -> pa.RecordBatch:
    """Texts of which cleaning leaves nothing, markup for instance, break the rule `blank`."""
    cleaned, changed = clean_batch(batch["text"], policy)
    if not changed:
        return batch
    first = pc.and_(pc.equal(cleaned, ""), pc.is_null(batch["rule"]))
    reason = "nothing is left of the text once it is cleaned"
    return batch.set_column(
        batch.schema.get_field_index("rule"),
        batch.schema.field("rule"),
        pc.if_else(first, "blank", batch["rule"]),
    ).set_column(
        batch.schema.get_field_index("reason"),
        batch.schema.field("reason"),
        pc.if_else(first, reason, batch["reason"]),
    )


def clean(
    valid: Table,
    spec: VerticalSpec,
    folder: UPath,
    cleaned: TableWriter,
    authors: Table | None = None,
) -> None:
    """DOCUMENTS -> CLEAN_DOCUMENTS, with AUTHOR_ATTRIBUTES in `meta` where there are any.

    Figures: changes by step and type; `left`, what a second pass found in what was written.
    """
    cleaning = Cleaning(spec, folder)
    said = authors.read().combine_chunks() if authors else None
    todo: list[tuple[Part, str, pa.Array | None]] = []
    for part in valid.parts():
        attributes = None
        if said is not None:
            ids = pa.chunked_array([b["doc_id"] for b in part.batches(["doc_id"])], pa.string())
            places = pc.index_in(ids, said["doc_id"])
            attributes = said["attributes"].take(places).combine_chunks()
        todo.append(
            (part, key_of(cleaning.identity, part.digest, digest_of(attributes)), attributes)
        )
    new_rows = sum(part.rows for part, key, _ in todo if not cleaned.has(key))
    with Workers(spec, folder) if new_rows >= MANY_ROWS else nullcontext() as workers:
        for part, key, attributes in todo:
            if cleaned.reuse(key):
                continue
            batches = with_attributes(part.batches(), attributes, spec)
            with cleaned.part(key) as written:
                for result, counts, left in cleaned_batches(batches, cleaning, workers):
                    written.append(result)
                    written.figures.update(counts)
                    written.figures.update({f"left\t{kind}": n for kind, n in left.items()})


def with_attributes(
    batches: Iterable[pa.RecordBatch], attributes: pa.Array | None, spec: VerticalSpec
) -> Iterator[pa.RecordBatch]:
    """DOCUMENTS of a part, in whose `meta` stands of the authors only what may be said."""
    policy, place = spec.deidentify.attributes, 0
    for batch in batches:
        if attributes is not None and policy is not None:
            said = attributes.slice(place, batch.num_rows)
            metas = replace_attributes(batch["meta"], said, policy)
            field = batch.schema.get_field_index("meta")
            batch = batch.set_column(field, batch.schema.field("meta"), metas)
        place += batch.num_rows
        yield batch


def digest_of(values: pa.Array | None) -> str:
    """Digest of a column of texts; empty where there is none."""
    return "" if values is None else xxhash.xxh3_128_hexdigest(repr(values.to_pylist()).encode())


def deduplicate(
    cleaned: Table,
    spec: VerticalSpec,
    kept: TableWriter,
    dropped: TableWriter,
    sketched: TableWriter,
) -> None:
    """CLEAN_DOCUMENTS -> DEDUP_DOCUMENTS and DUPLICATES; SKETCHES are kept for the next time.

    Clusters keep the ids that they have in the previous version of `kept`.
    """
    if spec.dedup.engine == "daft":
        found = clusters_on_daft(cleaned, spec)
    else:
        for part in cleaned.parts():
            key = key_of(spec.dedup.unit, spec.dedup_ngram, part.digest)
            if not sketched.reuse(key):
                with sketched.part(key) as written:
                    for batch in sketches(part.batches(_SKETCHED), spec):
                        written.append(batch)
        found = cluster(sketched.staged.batches, spec)
    former = kept.previous.read(["doc_id", "cluster_id"]) if kept.previous else None
    gone = read_tombstones(drop_folder(spec.name) / TOMBSTONES)
    clusters = clusters_of(found, former, pa.array([e.doc_id for e in gone.entries], pa.string()))
    del former
    stays, first = found.stays, 0
    for part in cleaned.parts():
        mask = stays[first : first + part.rows]
        heads = clusters.slice(first, part.rows).filter(pa.array(mask))
        ids = found.doc_ids.slice(first, part.rows).filter(pa.array(mask))
        first += part.rows
        # Clusters that are named after another document; the rest follows from the mask.
        named = heads.filter(pc.not_equal(heads, ids))
        key = key_of(part.digest, xxhash.xxh3_128_hexdigest(mask.tobytes()), *named.to_pylist())
        if kept.reuse(key):
            continue
        with kept.part(key) as written:
            place = done = 0
            for batch in part.batches():
                chosen = batch.filter(pa.array(mask[place : place + batch.num_rows]))
                place += batch.num_rows
                own = heads.slice(done, chosen.num_rows)
                done += chosen.num_rows
                written.append(chosen.append_column("cluster_id", own))
    with dropped.part("") as written:
        for batch in found.table(clusters).to_batches():
            written.append(batch)
            written.figures.update(batch["method"].to_pylist())


def clusters_on_daft(cleaned: Table, spec: VerticalSpec) -> Duplicates:
    """Daft reads the table's files itself: on this machine, or where DAFT_RUNNER=ray says."""
    import daft

    from vertical_assets.corpus.dedup.daft_engine import find_duplicates

    files = [str(part.path) for part in cleaned.parts() if part.rows]
    return find_duplicates(daft.read_parquet(files).select(*_SKETCHED), spec)


def distinct_texts(kept: Table) -> tuple[int, NDArray[np.int32]]:
    """How many different normalised texts a table has, and the length of each, in characters."""
    digests, lengths = [np.empty((0, 2), np.uint64)], [np.empty(0, np.int32)]
    for batch in kept.batches(["text"]):
        lengths.append(pc.utf8_length(batch["text"]).to_numpy())
        digests.append(hash_ngrams(code_points(batch["text"]), 1, "character").digests)
    joined = np.concatenate(digests)
    first = first_with_digest(joined, np.arange(len(joined)))
    return int((first == np.arange(len(joined))).sum()), np.concatenate(lengths)


def batches_of(
    parts: Sequence[Part], columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    for part in parts:
        yield from part.batches(columns)
