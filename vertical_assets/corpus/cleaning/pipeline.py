"""From a valid document to a clean one: cleaned, de-identified, numbers written one way, segmented.

Cleaning comes first, so that invisible or full-width characters hide no telephone number; personal
data are looked for again after numbers were rewritten, since a number in words may be one.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from upath import UPath

from vertical_assets.corpus.cleaning.cleaning import clean_batch
from vertical_assets.corpus.cleaning.numbers import normalize_batch
from vertical_assets.corpus.cleaning.segmentation import (
    Segmenter,
    domain_terms,
    read_dictionary,
    segment_batch,
)
from vertical_assets.corpus.personal.deidentify import deidentify_batch, find_again
from vertical_assets.corpus.personal.personal_data import PersonalData
from vertical_assets.corpus.personal.pseudonyms import Pseudonyms, secret_key
from vertical_assets.spec import Deidentify, VerticalSpec
from vertical_assets.store.contracts import CLEAN_DOCUMENTS

NUMBERS = "numbers"  # what a second pass finds: numbers that are still to be rewritten
Changes = list[dict[str, Any]]


def personal_data(policy: Deidentify, folder: UPath) -> PersonalData:
    """The recognisers of a vertical."""
    names = [name for source in policy.names for name in read_dictionary(source, folder)]
    return PersonalData(policy.entities, names)


class Cleaning:
    """Makes CLEAN_DOCUMENTS of DOCUMENTS, batch by batch.

    Args:
        spec: sections `clean`, `deidentify`, `language`.
        folder: the vertical's drop folder, where dictionaries are.

    Raises:
        SourceError: a dictionary can't be read.
    """

    def __init__(self, spec: VerticalSpec, folder: UPath) -> None:
        self.policy = spec.clean
        self.terms = domain_terms(spec.clean, folder)
        self.segmenter = Segmenter(self.terms) if spec.clean.segment else None
        self.personal: PersonalData | None = None
        secret = None
        if spec.deidentify.enabled:
            self.personal = personal_data(spec.deidentify, folder)
            secret = secret_key() if spec.deidentify.action == "pseudonym" else None
        self.pseudonyms = Pseudonyms(secret)
        names = self.personal.names.names if self.personal and self.personal.names else ()
        self.identity = xxhash.xxh3_128_hexdigest(
            repr(
                (spec.clean, spec.deidentify, sorted(self.terms), names, self.pseudonyms.of("", ""))
            ).encode()
        )

    def __call__(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Counter[str]]:
        """CLEAN_DOCUMENTS, and how many of each change were made: "step<tab>what" -> count."""
        changes: list[Changes] = [[] for _ in range(batch.num_rows)]
        columns = {name: batch[name] for name in batch.schema.names}
        columns["text"] = self._written(batch["text"], "text", changes)
        columns["title"] = self._written(batch["title"], "title", changes)
        columns["meta"] = self._meta(batch["meta"], changes)
        columns["author_id"] = self._authors(batch["author_id"])
        texts = columns["text"]
        columns["words"] = (
            segment_batch(texts, self.segmenter) if self.segmenter else pc.split_pattern(texts, " ")
        )
        columns["changes"] = pa.array([orjson.dumps(row).decode() for row in changes])
        result = pa.RecordBatch.from_arrays(
            [columns[name] for name in CLEAN_DOCUMENTS.names], schema=CLEAN_DOCUMENTS
        )
        counts = Counter(f"{change['step']}\t{change['what']}" for row in changes for change in row)
        return result, counts

    def left(self, batch: pa.RecordBatch) -> Counter[str]:
        """What a second pass over texts, titles and `meta` finds: type of personal data, or
        NUMBERS, -> count; nothing, it should be.
        """
        counts = Counter[str]()
        values = [entry.value for entry in _entries(batch["meta"])] if self.personal else []
        if self.personal and values:
            counts.update(find_again(pa.array(values, pa.string()), self.personal))
        # Where the first pass rewrote no number, the second finds none.
        rewritten = batch.filter(pc.match_substring(batch["changes"], '"step":"numbers"'))
        for name in ("text", "title"):
            if self.personal is not None:
                counts.update(find_again(batch[name], self.personal))
            _, again = normalize_batch(rewritten[name], self.policy.numbers, self.terms)
            counts[NUMBERS] += sum(map(len, again))
        return +counts

    def _written(self, texts: pa.Array, field: str, changes: list[Changes]) -> pa.Array:
        texts, cleaned = clean_batch(texts, self.policy)
        for row, steps in cleaned.items():
            changes[row] += [
                {"field": field, "step": "clean", "what": what, "count": count}
                for what, count in steps.items()
            ]
        texts = self._deidentified(texts, field, changes)
        texts, rewritten = normalize_batch(texts, self.policy.numbers, self.terms)
        if not any(rewritten):
            return texts
        before = list(map(len, changes))
        texts = self._deidentified(texts, field, changes)
        for row, numbers in enumerate(rewritten):
            # A number in words that turned out to be personal is not told here either.
            told = (
                "start",
                "end",
                *(("original", "written") if len(changes[row]) == before[row] else ()),
            )
            for each in numbers:
                said = {name: value for name, value in each._asdict().items() if name in told}
                changes[row].append(
                    {"field": field, "step": "numbers", "what": self.policy.numbers, **said}
                )
        return texts

    def _deidentified(self, texts: pa.Array, field: str, changes: list[Changes]) -> pa.Array:
        if self.personal is None:
            return texts
        result = deidentify_batch(texts, self.personal, self.pseudonyms)
        if result.counts:
            for row, found in enumerate(result.changes.to_pylist()):
                changes[row] += [
                    {"field": field, "step": "deidentify", "what": each.pop("type"), **each}
                    for each in found
                ]
        return result.texts

    def _meta(self, metas: pa.Array, changes: list[Changes]) -> pa.Array:
        """Personal data in the entries of `meta`; a number that is one becomes its pseudonym."""
        if self.personal is None:
            return metas
        if not (entries := list(_entries(metas))):
            return metas
        values = pa.array([entry.value for entry in entries], pa.string())
        result = deidentify_batch(values, self.personal, self.pseudonyms)
        if not result.counts:
            return metas
        written = metas.to_pylist()
        for entry, value, found in zip(
            entries, result.texts.to_pylist(), result.changes.to_pylist(), strict=True
        ):
            if found:
                entry.holder[entry.key] = value
                changes[entry.row] += [
                    {"field": entry.name, "step": "deidentify", "what": each.pop("type"), **each}
                    for each in found
                ]
                written[entry.row] = orjson.dumps(entry.whole, option=orjson.OPT_SORT_KEYS).decode()
        return pa.array(written, metas.type)

    def _authors(self, authors: pa.Array) -> pa.Array:
        """An author's id is personal: the same pseudonym for the same author."""
        if self.personal is None or authors.null_count == len(authors):
            return authors
        coded = authors.dictionary_encode()
        stand_ins = [self.pseudonyms.of("AUTHOR", each) for each in coded.dictionary.to_pylist()]
        return pa.array(stand_ins, pa.string()).take(coded.indices)


class _Entry(NamedTuple):
    """A text or number somewhere in a row's `meta`: the row, the whole of it, the mapping or list
    that holds the value, under which key; its name and the value as text.
    """

    row: int
    whole: Any
    holder: Any
    key: Any
    name: str
    value: str


def _entries(metas: pa.Array) -> Iterator[_Entry]:
    """What is written in `meta`, value by value: in JSON a character may stand for another."""
    for row, text in enumerate(metas.to_pylist()):
        if text is not None and text != "{}":
            whole = orjson.loads(text)
            yield from _values(row, whole, whole, "")


def _values(row: int, whole: Any, holder: Any, above: str) -> Iterator[_Entry]:
    entries = holder.items() if isinstance(holder, dict) else enumerate(holder)
    for key, value in entries:
        name = f"{above}.{key}" if above else str(key)
        if isinstance(value, dict | list):
            yield from _values(row, whole, value, name)
        elif not isinstance(value, bool | None):
            said = value if isinstance(value, str) else orjson.dumps(value).decode()
            yield _Entry(row, whole, holder, key, name, said)
