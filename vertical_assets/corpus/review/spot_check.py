"""Spot check: people judge a sample, and their verdicts tell how valid the corpus is (SPEC D5).

The sample is stratified by source and language. Places are given to strata by Sainte-Laguë's
divisors, one to each at least (Balinski and Young, "Fair Representation", 1982): proportional, and
more places take none away. Within a stratum the documents with the least hash of seed and id are
chosen. So a new document pushes out at most two that people may have judged already.

A document counts once however many people judged it, since their verdicts on it are not
independent: it is valid if more than half of them say so.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import pyarrow as pa
import xxhash

from vertical_assets.corpus.review.verdicts import VALID, VERDICTS
from vertical_assets.store.contracts import SPOT_CHECK, SPOT_VALIDITY


@dataclass(frozen=True)
class Judged:
    """The sample with its verdicts, and how many verdicts are about other documents."""

    sample: pa.Table
    outside: int


def draw_sample(documents: Iterable[pa.RecordBatch], size: int, seed: int) -> pa.Table:
    """Draws the sample; the order of the documents does not matter.

    Args:
        documents: batches with doc_id, source, language, text. Held are `size` texts a stratum.
        size: documents wanted; there are more only where there are more strata than that.
        seed: the vertical's.

    Returns:
        SPOT_CHECK without verdicts, in random order.
    """
    counts: Counter[tuple[str, str]] = Counter()
    least: dict[tuple[str, str], list[tuple[int, str, str]]] = defaultdict(list)
    for batch in documents:
        columns = [batch[name].to_pylist() for name in ("doc_id", "source", "language")]
        for row, (doc_id, source, language) in enumerate(zip(*columns, strict=True)):
            rank = -xxhash.xxh3_64_intdigest(f"{seed}\0{doc_id}".encode())
            heap = least[source, language]
            counts[source, language] += 1
            if len(heap) < size:
                heapq.heappush(heap, (rank, doc_id, batch["text"][row].as_py()))
            elif (rank, doc_id) > heap[0][:2]:
                heapq.heapreplace(heap, (rank, doc_id, batch["text"][row].as_py()))
    places = _places(counts, size)
    chosen = [
        (-rank, doc_id, source, language, text)
        for (source, language), heap in least.items()
        for rank, doc_id, text in heapq.nlargest(places[source, language], heap)
    ]
    rows = [
        {"doc_id": doc_id, "source": source, "language": language, "text": text, "verdicts": 0}
        for _, doc_id, source, language, text in sorted(chosen)
    ]
    return pa.Table.from_pylist(rows, SPOT_CHECK)


def _places(counts: Mapping[tuple[str, str], int], size: int) -> Counter[tuple[str, str]]:
    """Places of each stratum: one, then always to the one with the most documents a divisor."""
    places = Counter(dict.fromkeys(counts, 1))
    queue = [(-count / 3, stratum) for stratum, count in counts.items() if count > 1]
    heapq.heapify(queue)
    for _ in range(size - len(counts)):
        if not queue:
            break
        _, stratum = queue[0]
        places[stratum] += 1
        if places[stratum] < counts[stratum]:
            following = (-counts[stratum] / (2 * places[stratum] + 1), stratum)
            heapq.heapreplace(queue, following)
        else:
            heapq.heappop(queue)
    return places


def judge(sample: pa.Table, verdicts: pa.Table) -> Judged:
    """Gives every document of the sample its verdict.

    It is valid if more than half of its verdicts say so; if not, its verdict is the most frequent
    of the others (of equally frequent ones the first in the order of VERDICTS).

    Args:
        sample: SPOT_CHECK.
        verdicts: SPOT_VERDICTS; those on documents that are not in the sample are only counted.
    """
    votes: dict[str, Counter[str]] = {doc_id: Counter() for doc_id in sample["doc_id"].to_pylist()}
    outside = 0
    for doc_id, verdict in zip(
        *(verdicts[c].to_pylist() for c in ("doc_id", "verdict")), strict=True
    ):
        if doc_id in votes:
            votes[doc_id][verdict] += 1
        else:
            outside += 1
    columns = {
        "verdict": [_majority(said) for said in votes.values()],
        "verdicts": [said.total() for said in votes.values()],
    }
    for name, values in columns.items():
        index = SPOT_CHECK.get_field_index(name)
        field = SPOT_CHECK.field(name)
        sample = sample.set_column(index, field, pa.array(values, field.type))
    return Judged(sample, outside)


def _majority(votes: Counter[str]) -> str | None:
    if not votes:
        return None
    if 2 * votes[VALID] > votes.total():
        return VALID
    others = [verdict for verdict in VERDICTS if verdict != VALID]
    return max(others, key=lambda verdict: votes[verdict])


def validity(judged: pa.Table) -> pa.Table:
    """Share of valid documents among the judged ones, with its Wilson interval.

    Args:
        judged: SPOT_CHECK with verdicts.

    Returns:
        SPOT_VALIDITY: `overall` first, then every stratum; no rate where nothing was judged.
    """
    scopes: dict[tuple[str, str, str], list[str | None]] = {("overall", "all", "all"): []}
    columns = (judged[name].to_pylist() for name in ("source", "language", "verdict"))
    for source, language, verdict in sorted(zip(*columns, strict=True), key=lambda row: row[:2]):
        scopes["overall", "all", "all"].append(verdict)
        scopes.setdefault(("stratum", source, language), []).append(verdict)
    rows = []
    for (scope, source, language), verdicts in scopes.items():
        counted = [verdict for verdict in verdicts if verdict is not None]
        valid = counted.count(VALID)
        low, high = wilson_interval(valid, len(counted)) if counted else (None, None)
        rows.append(
            {
                "scope": scope,
                "source": source,
                "language": language,
                "sampled": len(verdicts),
                "judged": len(counted),
                "valid": valid,
                "rate": valid / len(counted) if counted else None,
                "low": low,
                "high": high,
            }
        )
    return pa.Table.from_pylist(rows, SPOT_VALIDITY)


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion, without continuity correction.

    Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22 (1927).

    Raises:
        ValueError: no trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes in {trials} trials have no interval")
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (successes + z * z / 2) / (trials + z * z)
    half = z * math.sqrt(successes * (trials - successes) / trials + z * z / 4) / (trials + z * z)
    # At no or only successes an end is 0 or 1 exactly, which rounding must not pass.
    return (
        0.0 if successes == 0 else centre - half,
        1.0 if successes == trials else centre + half,
    )
