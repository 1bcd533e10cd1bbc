"""Segmentation: words, with the domain's terms whole, whatever stands around them (SPEC D9).

Occurrences of terms are found first (`terms.py`). Each is one word. What is between them is cut by
jieba's model (dictionary, word graph, hidden Markov model) where it is Chinese, and into words,
numbers and signs elsewhere. The words joined are the text.
"""

import contextlib
import json
import re
from collections.abc import Iterable
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import xxhash
from upath import UPath

from vertical_assets.corpus.cleaning.cleaning import clean_batch
from vertical_assets.corpus.cleaning.terms import EAST, LETTER, Terms
from vertical_assets.corpus.reading.encodings import SAMPLE_BYTES, detect_encoding
from vertical_assets.corpus.reading.files import SourceError
from vertical_assets.spec.corpus import Clean, Dictionary

_EASTERN = re.compile(f"([{EAST}]+)")
# `X-ray`, `don't`, `U.S.A`, `1,000.5`, `50%`, `C++` are one word each, as jieba has most of them.
_SPELLED = re.compile(
    rf"{LETTER}(?:{LETTER}|[\u0300-\u036f]|['’.&_\-](?={LETTER})|(?<=[0-9]),(?=[0-9]))*+"
    rf"(?:%|[+#]++(?!{LETTER}))?|.",
    re.DOTALL,
)
# What jieba would tear apart: accented letters, apostrophes in words, commas in numbers.
_NOT_FOR_JIEBA = re.compile(
    rf"[^\W_\x00-\x7f{EAST}]|(?<=[a-zA-Z])['’](?=[a-zA-Z])|(?<=[0-9]),(?=[0-9])"
)


class Segmenter:
    """Cuts texts into words; terms stay whole."""

    def __init__(self, terms: Iterable[str]) -> None:
        """Prepares the search for terms (blank ones are left out) and jieba's model."""
        from rjieba import Jieba

        self.occurrences = Terms(terms).occurrences
        self._cut = Jieba().cut

    def segment(self, text: str) -> list[str]:
        """The words of a text, white space and punctuation included; joined they are the text."""
        words: list[str] = []
        done = 0
        for start, end in self.occurrences(text):
            words += self._between(text[done:start])
            words.append(text[start:end])
            done = end
        return words + self._between(text[done:])

    def _between(self, text: str) -> list[str]:
        if text.isascii():
            return _SPELLED.findall(text)
        if not _NOT_FOR_JIEBA.search(text):
            return self._cut(text)
        return [
            word
            for number, piece in enumerate(_EASTERN.split(text))
            for word in (self._cut(piece) if number % 2 else _SPELLED.findall(piece))
        ]


def segment_batch(texts: pa.Array, segmenter: Segmenter) -> pa.ListArray:
    """Words of each text; a text that occurs again in the batch is cut once.

    Args:
        texts: strings; null stays null.
        segmenter: with the domain's terms.

    Returns:
        Lists of strings, one a text.
    """
    encoded = texts.dictionary_encode()
    distinct = encoded.dictionary.cast(pa.string())
    sizes: list[int] = []  # characters of each word
    ends = [0]  # of each text in `sizes`
    for text in distinct.to_pylist():
        sizes += map(len, segmenter.segment(text))
        ends.append(len(sizes))
    # The words joined are the texts: their bytes are there already, only the places are new.
    places, data = np.zeros(1, np.int32), pa.py_buffer(b"")
    if sizes:
        _, text_ends, data = distinct.buffers()
        size = np.frombuffer(text_ends, np.int32)[len(distinct)]
        starts = np.flatnonzero((np.frombuffer(data, np.uint8)[:size] & 0xC0) != 0x80)
        places = np.append(starts, size)[np.cumsum([0, *sizes])].astype(np.int32)
    words = pa.StringArray.from_buffers(len(sizes), pa.py_buffer(places), data)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), words).take(encoded.indices)


def domain_terms(policy: Clean, data: UPath) -> frozenset[str]:
    """The terms of `clean.dictionaries`, cleaned as the texts are.

    Args:
        policy: section `clean`.
        data: folder that a relative `path` starts from, `data/<vertical>/`.

    Raises:
        SourceError: a dictionary can't be read.
    """
    terms = [term for source in policy.dictionaries for term in read_dictionary(source, data)]
    cleaned, _ = clean_batch(pa.array(terms, pa.string()), policy)
    return frozenset(cleaned.to_pylist())


def read_dictionary(dictionary: Dictionary, data: UPath) -> dict[str, int | None]:
    """Terms with their frequencies, None where the file has none.

    A file has one term a line, a tab and the frequency after it where known; blank lines and
    lines that begin with `#` are left out; UTF-8 or what the bytes tell. Of a JSON file, `#key`
    after the name picks one list, or mapping of terms to frequencies, out of an object
    (`resources/THUOCL.json#医药`).

    Args:
        dictionary: where it is.
        data: folder that a relative `path` starts from, `data/<vertical>/`.

    Raises:
        SourceError: naming file, line and remedy.
    """
    file, key = dictionary_file(dictionary, data)
    try:
        with file.open("rb") as opened:
            content = opened.read()
    except OSError as error:
        raise SourceError(
            f"dictionary {file}: {error.strerror or error}; put the file there or correct the "
            f"dictionary's {'path' if dictionary.path else 'resource'}"
        ) from error
    if file.suffix.lower() == ".json":
        return _json_terms(file, content, key)
    encoding = detect_encoding(content[:SAMPLE_BYTES])
    try:
        lines = content.decode(encoding).splitlines()
    except UnicodeDecodeError as error:
        broken = content.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"dictionary {file}, line {broken}: bytes that are no {encoding} text; save it as UTF-8"
        ) from error
    terms: dict[str, int | None] = {}
    for number, line in enumerate(lines, 1):
        term, _, frequency = (part.strip() for part in line.partition("\t"))
        if not term or term.startswith("#"):
            continue
        if frequency and not frequency.isdecimal():
            raise SourceError(
                f"dictionary {file}, line {number}: {frequency!r} after {term!r} is no frequency; "
                "write one term a line, and a tab and a whole number after it where known"
            )
        terms[term] = int(frequency) if frequency else None
    return terms


def dictionary_fingerprint(dictionaries: Iterable[Dictionary], data: UPath) -> str:
    """Digest of the files' bytes; a file that can't be read counts as empty, and is named when what
    reads it is made anew.

    Args:
        dictionaries: where they are.
        data: see `read_dictionary`.
    """
    digest = xxhash.xxh3_128()
    for each in dictionaries:
        content = b""
        with contextlib.suppress(Exception):  # every file system has its own
            content = dictionary_file(each, data)[0].read_bytes()
        digest.update(f"{len(content)}\0".encode() + content)
    return digest.hexdigest()


def dictionary_file(dictionary: Dictionary, data: UPath) -> tuple[UPath, str]:
    if dictionary.package is not None:
        found = find_spec(dictionary.package)  # not imported: only its files are read
        if found is None or not found.submodule_search_locations:
            raise SourceError(f"dictionary: package {dictionary.package!r} is missing; install it")
        name, _, key = str(dictionary.resource).partition("#")
        return UPath(found.submodule_search_locations[0]) / name, key
    name, _, key = str(dictionary.path).partition("#")
    if "://" in name or UPath(name).is_absolute():
        return UPath(name), key
    return data / name, key


def _json_terms(file: UPath, content: bytes, key: str) -> dict[str, int | None]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise SourceError(f"dictionary {file}: {error}; correct the JSON") from error
    if key:
        if not isinstance(found, dict) or key not in found:
            raise SourceError(
                f"dictionary {file}: no entry {key!r}; name one of {', '.join(list(found)[:20])}"
            )
        found = found[key]
    if isinstance(found, list):
        found = dict.fromkeys(found)
    if not isinstance(found, dict) or not all(
        isinstance(term, str) and (count is None or isinstance(count, int))
        for term, count in found.items()
    ):
        raise SourceError(
            f"dictionary {file}: wanted a list of terms, or terms with whole numbers; "
            f"name the entry that holds it after the file name, as in {file.name}#key"
        )
    return {term.strip("\ufeff \t"): count for term, count in found.items()}
