"""Deduplication beside its peers, on a generated corpus whose duplicates are known.

    python benchmarks/dedup.py            50 k, 100 k and 200 k documents, Chinese and English
    python benchmarks/dedup.py --quick    15 k, without the slowest peers; under 45 seconds
    python benchmarks/dedup.py --huge     2 M documents, this engine only

Documents are clauses of real texts (reviews and newspaper in Chinese; ICD-10-CM titles, Python's
reference and licences in English), every second one of words drawn anew, 100 to 300 characters.
10 % are exact copies, 10 % near ones (edited while the true Jaccard similarity stays at the
threshold or above), 5 % hard negatives (edited to just below it). Every engine gets the same
n-grams (3 characters, 2 words), threshold (0.8) and, where it has any, 128 permutations in 32
bands of 4 rows; each runs in a process of its own, is warmed on a few documents, and is timed
from texts in Arrow to clusters.

recall: planted pairs at the threshold or above, of which not both are kept. precision: dropped
documents that are within the threshold of what was kept for them, by sets of true n-grams.
"""

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from known_duplicates import BATCH, NGRAM, SCHEMA, THRESHOLD, corpus, jaccard, ngrams

if TYPE_CHECKING:
    from vertical_assets.spec import VerticalSpec

PERMUTATIONS, BANDS = 128, 32
PEERS_MOST = {
    "datasketch": 50_000,
    "datasketch verified": 50_000,
    "datatrove": 50_000,
}  # as slow as they are
WARMUP = 200


# The engines: rows -> for each row the row that is kept for it; itself where it stays.


def ours(batches: list[pa.RecordBatch], language: str) -> list[int]:
    from vertical_assets.corpus.dedup.dedup import find_duplicates

    found: list[int] = find_duplicates(batches, spec(language)).kept.tolist()
    return found


def ours_streamed(file: Path, language: str) -> list[int]:
    """Texts read once, sketches on disk: for corpora larger than memory."""
    import pyarrow.parquet as pq

    from vertical_assets.corpus.dedup.dedup import SKETCHES, cluster, sketches

    stored = file.with_suffix(".sketches.parquet")
    with pq.ParquetWriter(stored, SKETCHES, compression="none", use_dictionary=False) as writer:
        for batch in sketches(stream(file), spec(language)):
            writer.write_batch(batch)
    found: list[int] = cluster(
        lambda columns: pq.ParquetFile(stored, pre_buffer=False).iter_batches(
            BATCH, columns=list(columns)
        ),
        spec(language),
    ).kept.tolist()
    return found


def spec(language: str) -> "VerticalSpec":
    from vertical_assets.spec import VerticalSpec

    return VerticalSpec.model_validate(
        {
            "name": "benchmark",
            "domain": "any",
            "language": language,
            "sources": [{"name": "all", "kind": "public", "licence": "", "path": "*"}],
            "task": {"name": "none", "labels": {"a": "", "b": ""}},
            "annotation": {"path": "*"},
            "model": {"base": "scratch"},
            "dedup": {"threshold": THRESHOLD, "unit": "character" if language == "zh" else "word"},
        }
    )


def rensa(batches: list[pa.RecordBatch], language: str) -> list[int]:
    """As its README keeps unique documents: verdicts by sketch, no word on what they copy (-1)."""
    from rensa import RMinHashDeduplicator

    lsh = RMinHashDeduplicator(
        threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True, num_bands=BANDS
    )
    kept: list[int] = []
    for batch in batches:
        grams = (ngrams(text, language) for text in batch["text"].to_pylist())
        verdicts = lsh.add_pairs((str(len(kept) + n), gram) for n, gram in enumerate(grams))
        kept += [len(kept) + n if new else -1 for n, new in enumerate(verdicts)]
    return kept


def rensa_verified(batches: list[pa.RecordBatch], language: str) -> list[int]:
    """Candidates of its LSH, each compared by true Jaccard."""
    from rensa import RMinHash, RMinHashLSH

    lsh = RMinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS, num_bands=BANDS)
    candidates: list[list[int]] = []
    for batch in batches:
        grams = [ngrams(text, language) for text in batch["text"].to_pylist()]
        sketches = RMinHash.from_token_sets(grams, PERMUTATIONS, 42)
        lsh.insert_many(sketches, start_key=len(candidates))
        candidates += lsh.query_all(sketches)
    return first_truly_near(batches, candidates, language)


def datasketch(batches: list[pa.RecordBatch], language: str) -> list[int]:
    """As its documentation queries before it inserts; the first candidate is believed."""
    return _datasketch(batches, language, lambda row, other: True)


def datasketch_verified(batches: list[pa.RecordBatch], language: str) -> list[int]:
    """The same candidates, each compared by true Jaccard."""
    texts = all_texts(batches)
    return _datasketch(
        batches,
        language,
        lambda row, other: jaccard(texts[row], texts[other], language) >= THRESHOLD,
    )


def _datasketch(
    batches: list[pa.RecordBatch], language: str, near: Callable[[int, int], bool]
) -> list[int]:
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, PERMUTATIONS // BANDS))
    kept: list[int] = []
    for batch in batches:
        for text in batch["text"].to_pylist():
            row = len(kept)
            sketch = MinHash(num_perm=PERMUTATIONS)
            sketch.update_batch([gram.encode() for gram in ngrams(text, language)])
            twin = next((other for other in sorted(lsh.query(sketch)) if near(row, other)), row)
            if twin == row:
                lsh.insert(row, sketch)
            kept.append(twin)
    return kept


def datatrove(batches: list[pa.RecordBatch], language: str) -> list[int]:
    """Its four steps by its local executor, two tasks; clusters are connected components."""
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.hashing import HashConfig
    from datatrove.utils.text import TextNormConfig
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Plain(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return list(text) if language == "zh" else text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    config = MinhashConfig(
        n_grams=NGRAM[language],
        num_buckets=BANDS,
        hashes_per_bucket=PERMUTATIONS // BANDS,
        hash_config=HashConfig(hash_fc="sha1"),  # its xxhash wants a release before 4
        norm_config=TextNormConfig(False, False, False, False, False),
    )
    texts = all_texts(batches)
    half = (len(texts) + 1) // 2

    def read(data: object, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        for row in range(rank * half, min(len(texts), (rank + 1) * half)):
            yield Document(text=texts[row], id=str(row))

    with tempfile.TemporaryDirectory() as folder:

        def run(steps: list[object], tasks: int) -> None:
            logs = tempfile.mkdtemp(dir=folder)
            LocalPipelineExecutor(
                steps, tasks=tasks, workers=min(tasks, 2), logging_dir=logs, start_method="fork"
            ).run()

        run([read, MinhashDedupSignature(f"{folder}/sig", config, Plain())], 2)
        run([MinhashDedupBuckets(f"{folder}/sig", f"{folder}/buckets", config=config)], BANDS)
        run(
            [
                MinhashDedupCluster(
                    f"{folder}/buckets", f"{folder}/ids", config, save_cluster_id=True
                )
            ],
            1,
        )
        kept, first = list(range(len(texts))), dict[int, int]()
        removed = {
            rank * half + row
            for rank in range(2)
            for row in _integers(Path(folder) / "ids" / f"{rank:06d}.remove")
        }
        members: dict[int, list[int]] = {}
        for rank in range(2):
            pairs = _integers(Path(folder) / "ids" / f"{rank:06d}.clusters")
            for row, number in zip(pairs[::2], pairs[1::2], strict=True):
                members.setdefault(number, []).append(rank * half + row)
        for number, rows in members.items():
            first[number] = next(row for row in rows if row not in removed)
            for row in rows:
                kept[row] = first[number]
    return kept


def _integers(file: Path) -> list[int]:
    import numpy as np

    return np.fromfile(file, np.uint32).tolist() if file.exists() else []


def daft(batches: list[pa.RecordBatch], language: str) -> list[int]:
    """As its guide on near duplicates: minhash, bands, group by band, connected components."""
    import daft as df
    from daft.functions import chunk, list_agg, list_count, minhash

    texts = pa.Table.from_batches(batches)["text"].to_pylist()
    # Its minhash splits at spaces.
    spaced = [" ".join(text.replace(" ", "_")) for text in texts] if language == "zh" else texts
    frame = df.from_arrow(pa.table({"row": range(len(texts)), "text": spaced}))
    hashed = minhash(df.col("text"), num_hashes=PERMUTATIONS, ngram_size=NGRAM[language])
    bands = frame.select(df.col("row"), chunk(hashed, PERMUTATIONS // BANDS).alias("key"))
    bands = bands.explode("key", index_column="band")
    groups = bands.groupby("band", "key").agg(list_agg(df.col("row")).alias("rows"))
    shared = groups.where(list_count(df.col("rows")) > 1).select("rows").to_arrow()
    kept = list(range(len(texts)))

    def root(row: int) -> int:
        while kept[row] != row:
            kept[row] = kept[kept[row]]
            row = kept[row]
        return row

    for rows in shared["rows"].to_pylist():
        one = root(rows[0])
        for row in rows[1:]:
            other = root(row)
            one, other = min(one, other), max(one, other)
            kept[other] = one
    return [root(row) for row in range(len(texts))]


def first_truly_near(
    batches: list[pa.RecordBatch], candidates: list[list[int]], language: str
) -> list[int]:
    """Greedy stars over candidates, by true Jaccard; as a careful user writes it."""
    texts = all_texts(batches)
    kept: list[int] = []
    for row, near in enumerate(candidates):
        earlier = (n for n in sorted(near) if n < row and kept[n] == n)
        twin = (n for n in earlier if jaccard(texts[row], texts[n], language) >= THRESHOLD)
        kept.append(next(twin, row))
    return kept


def all_texts(batches: list[pa.RecordBatch]) -> list[str]:
    return [text for batch in batches for text in batch["text"].to_pylist()]


ENGINES: dict[str, Callable[[list[pa.RecordBatch], str], list[int]]] = {
    "ours": ours,
    "rensa": rensa,
    "rensa verified": rensa_verified,
    "daft": daft,
    "datasketch": datasketch,
    "datasketch verified": datasketch_verified,
    "datatrove": datatrove,
}


# One engine in a process of its own, and the table of them all.


def stream(file: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(file)) as source, pa.ipc.open_file(source) as reader:
        for number in range(reader.num_record_batches):
            yield reader.get_batch(number)


def measure(engine: str, file: Path, language: str) -> dict[str, float]:
    """Documents a second, peak memory in MB, recall and precision of one engine."""
    if engine == "ours streamed":
        warm = file.with_suffix(".warm.arrow")
        first = next(stream(file)).slice(0, WARMUP)
        with pa.ipc.new_file(warm, SCHEMA) as writer:
            writer.write_batch(first)
        ours_streamed(warm, language)
        start = time.perf_counter()
        kept = ours_streamed(file, language)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    else:
        batches = pa.ipc.open_file(pa.memory_map(str(file))).read_all().to_batches()
        ENGINES[engine]([batches[0].slice(0, WARMUP)], language)
        start = time.perf_counter()
        kept = ENGINES[engine](batches, language)
        seconds = time.perf_counter() - start
        own, children = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
        peak = max(resource.getrusage(who).ru_maxrss for who in (own, children))
    recall, precision = judged(kept, file, language)
    return {
        "docs_per_s": round(len(kept) / seconds),
        "us_per_doc": round(seconds / len(kept) * 1e6, 2),
        "peak_mb": round(peak / 1024),
        "recall": recall,
        "precision": precision,
    }


def judged(kept: list[int], file: Path, language: str) -> tuple[float, float]:
    """Recall and precision, over 50,000 rows that say what they were made of, and were dropped."""
    whole = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    texts, origins = whole["text"].combine_chunks(), whole["origin"].to_pylist()
    families: dict[int, list[int]] = {}
    for row, origin in enumerate(origins):
        if row != origin:
            families.setdefault(origin, [origin]).append(row)

    def near(one: int, other: int) -> bool:
        return jaccard(texts[one].as_py(), texts[other].as_py(), language) >= THRESHOLD

    chance = random.Random(0)
    copies = [row for row, origin in enumerate(origins) if row != origin]
    planted = chance.sample(copies, min(50_000, len(copies)))
    planted = [row for row in planted if near(row, origins[row])]
    found = sum(kept[row] != row or kept[origins[row]] != origins[row] for row in planted)
    dropped = [row for row, twin in enumerate(kept) if row != twin]
    dropped = chance.sample(dropped, min(50_000, len(dropped)))
    right = 0
    for row in dropped:
        # An engine that does not say what it kept may have kept any of the family.
        twins = families.get(origins[row], []) if kept[row] < 0 else [kept[row]]
        right += any(kept[twin] == twin and near(row, twin) for twin in twins)
    return round(found / max(1, len(planted)), 5), round(right / max(1, len(dropped)), 5)


def run(engine: str, file: Path, language: str) -> dict[str, float] | None:
    """`measure` in a new process; None, with the reason told, where the engine is not there."""
    command = [sys.executable, __file__, "--measure", engine, str(file), language]
    quiet = {**os.environ, "DAFT_PROGRESS_BAR": "0"}
    result = subprocess.run(command, capture_output=True, text=True, env=quiet)
    if result.returncode:
        print(f"  {engine:22} failed: {(result.stderr.strip().splitlines() or ['?'])[-1][:90]}")
        return None
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    print(
        f"  {engine:22} {figures['docs_per_s']:>9,} {figures['us_per_doc']:>8.2f} "
        f"{figures['peak_mb']:>8,} {figures['recall']:>8.4f} {figures['precision']:>10.4f}",
        flush=True,
    )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a first look, under 45 seconds")
    parser.add_argument("--huge", action="store_true", help="2 M documents, this engine only")
    parser.add_argument("--size", type=int, help="documents, instead of the usual sizes")
    parser.add_argument("--language", choices=["zh", "en"], help="one language only")
    parser.add_argument("--only", help="comma-separated engines")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        engine, file, language = options.measure
        print(json.dumps(measure(engine, Path(file), language)))
        return
    sizes = [15_000] if options.quick else [50_000, 100_000, 200_000]
    sizes = [2_000_000] if options.huge else sizes
    sizes = [options.size] if options.size else sizes
    engines = ["ours streamed"] if options.huge else list(ENGINES)
    engines = [name for name in engines if not (options.quick and name in PEERS_MOST)]
    engines = options.only.split(",") if options.only else engines
    summary: dict[str, dict[str, float]] = {}
    for language in [options.language] if options.language else ["zh", "en"]:
        growth: list[tuple[int, float]] = []
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "corpus.arrow"
                average = 150 if options.huge else 200
                with pa.ipc.new_file(file, SCHEMA) as writer:
                    for batch in corpus(size, language, average, seed=size):
                        writer.write_batch(batch)
                print(f"\n{language}, {size:,} documents")
                print(f"  {'engine':22} {'docs/s':>9} {'us/doc':>8} {'peak MB':>8} "
                      f"{'recall':>8} {'precision':>10}")  # fmt: skip
                found = {
                    engine: run(engine, file, language)
                    for engine in engines
                    if size <= PEERS_MOST.get(engine, size)
                }
            mine = found.get("ours") or found.get("ours streamed")
            if mine is None:
                continue
            growth.append((size, size / mine["docs_per_s"]))
            peer = found.get("rensa")
            summary[language] = {
                "documents": size,
                "ours_docs_per_s": mine["docs_per_s"],
                **(
                    {
                        "rensa_docs_per_s": peer["docs_per_s"],
                        "ratio": round(mine["docs_per_s"] / peer["docs_per_s"], 2),
                    }
                    if peer
                    else {}
                ),
                "recall": mine["recall"],
                "precision": mine["precision"],
                "peak_mb": mine["peak_mb"],
            }
        if len(growth) > 1:
            (small, less), (large, more) = growth[0], growth[-1]
            exponent = math.log(more / less) / math.log(large / small)
            summary[language]["growth"] = round(exponent, 2)
            print(f"  cost grows with n^{exponent:.2f}")
    # The figures of the largest size, for the language with the smaller ratio.
    worst = min(summary.values(), key=lambda figures: figures.get("ratio", 0.0))
    print(json.dumps({**worst, "by_language": summary}))


if __name__ == "__main__":
    main()
