"""The same deduplication on Daft, for corpora of many machines: `dedup.engine: daft` (SPEC D3).

The join of `set_join` as it is spread over a cluster (Vernica et al., "Efficient parallel
set-similarity joins using MapReduce", 2010): count the n-grams, send each document to the rarest
of its own, pair those that meet, verify each pair by true Jaccard. Texts and n-grams stay on the
cluster; ranks and similar pairs come to the driver, which draws the stars. The join is exact, so
that the clusters are those of the local engine.

Where it runs is Daft's own setting: on this machine, or on Ray by `daft.set_runner_ray(address)`
or DAFT_RUNNER=ray.
"""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vertical_assets.corpus.dedup.dedup import (
    SKETCHES,
    Duplicates,
    digest_words,
    duplicates_of,
    sketch,
)
from vertical_assets.corpus.dedup.keep_policy import by_preference
from vertical_assets.corpus.dedup.ngrams import first_with_digest
from vertical_assets.corpus.dedup.set_join import FREQUENT, candidates
from vertical_assets.spec import VerticalSpec

if TYPE_CHECKING:
    import daft

_SLOTS = 1 << 22  # of the table of counts, which every task gets: 4 MiB
_COMPUTED = ("length", "digest", "ngrams")


def find_duplicates(documents: "daft.DataFrame", spec: VerticalSpec) -> Duplicates:
    """Clusters of a Daft frame with `doc_id`, `text` and, where it has them, `source` and
    `published_at`. Rows are numbered in the frame's order, which is that of its files.
    """
    import daft

    sketches = _sketches(documents, spec)
    small = sketches.exclude("ngrams").to_arrow().sort_by("row")
    ranked = by_preference(small, spec)
    first = first_with_digest(digest_words(small["digest"].cast(pa.binary(16))), ranked)
    distinct = ranked[first[ranked] == ranked]
    places = pa.table(
        {"row": small["row"].take(pa.array(distinct)), "place": np.arange(len(distinct))}
    )
    sets = sketches.select("row", "ngrams").join(daft.from_arrow(places), on="row")
    pairs = _similar_pairs(sets.select("place", "ngrams").collect(), spec.dedup.threshold)
    twins, similarity = _stars(pairs, len(distinct))
    return duplicates_of(small["doc_id"], first, distinct, distinct[twins], similarity)


def _sketches(documents: "daft.DataFrame", spec: VerticalSpec) -> "daft.DataFrame":
    """SKETCHES on the cluster, with `row`: a number that grows with the frame's order."""
    import daft
    from daft.functions import monotonically_increasing_id

    kinds = {n: daft.DataType.from_arrow_type(SKETCHES.field(n).type) for n in _COMPUTED}

    @daft.func.batch(return_dtype=daft.DataType.struct(kinds))
    def sketched(doc_ids: daft.Series, texts: daft.Series) -> pa.Array:
        columns = [doc_ids.to_arrow(), texts.to_arrow()]
        batch = sketch(pa.RecordBatch.from_arrays(columns, ["doc_id", "text"]), spec)
        return pa.StructArray.from_arrays([batch[name] for name in _COMPUTED], _COMPUTED)

    col = daft.col
    given = [name for name in SKETCHES.names if name in documents.column_names]
    numbered = documents.with_column("row", monotonically_increasing_id())
    both = numbered.select("row", *given, sketched(col("doc_id"), col("text")).alias("sketch"))
    computed = [col("sketch").get(name).alias(name) for name in _COMPUTED]
    return both.select("row", *given, *computed).collect()


def _similar_pairs(sets: "daft.DataFrame", threshold: float) -> pa.Table:
    """Pairs of places `one` < `other` with Jaccard `similarity` >= threshold; all there are."""
    import daft
    from daft.functions import list_count

    col, kind = daft.col, daft.DataType
    sets = sets.where(list_count(col("ngrams")) > 0)
    slot = col("ngrams") // (2**32 // _SLOTS)
    tallies = sets.explode("ngrams").select(slot.alias("slot")).groupby("slot")
    found = tallies.agg(col("slot").count().alias("sets")).to_arrow()
    counts = np.zeros(_SLOTS, np.uint8)
    counts[found["slot"].to_numpy()] = np.minimum(found["sets"].to_numpy(), FREQUENT)

    @daft.func.batch(return_dtype=kind.list(kind.uint32()))
    def rarest(ngrams: daft.Series) -> pa.Array:
        values, offsets = _lists(ngrams)
        chosen = candidates(counts, values, offsets, np.diff(offsets) > 0, threshold)
        ends = np.cumsum(chosen.shared) - chosen.shared
        prefixes = np.zeros(len(ngrams), np.int64)
        prefixes[chosen.rows] = chosen.prefixes
        within = np.arange(chosen.prefixes.sum()) - np.repeat(
            np.cumsum(chosen.prefixes) - chosen.prefixes, chosen.prefixes
        )
        elements = chosen.values[np.repeat(ends, chosen.prefixes) + within]
        bounds = np.concatenate(([0], np.cumsum(prefixes)))
        return pa.LargeListArray.from_arrays(bounds, elements)

    @daft.func.batch(return_dtype=kind.float64())
    def jaccard(one: daft.Series, other: daft.Series) -> NDArray[np.float64]:
        (left, starts), (right, begins) = _lists(one), _lists(other)
        similarity = np.empty(len(one), np.float64)
        for i in range(len(one)):
            a, b = left[starts[i] : starts[i + 1]], right[begins[i] : begins[i + 1]]
            common = len(np.intersect1d(a, b, assume_unique=True))
            similarity[i] = common / (len(a) + len(b) - common)
        return similarity

    rare = sets.with_columns(
        {"element": rarest(col("ngrams")), "size": list_count(col("ngrams")).cast(kind.float64())}
    )
    rare = rare.where(list_count(col("element")) > 0).select("place", "size", "element")
    rare = rare.explode("element")
    one = rare.with_columns_renamed({"place": "one", "size": "one_size"})
    other = rare.with_columns_renamed({"place": "other", "size": "other_size"})
    # |A n B| >= t |A u B| bounds the sizes, a little loosened for the floats' sake.
    least = threshold - 1e-9
    pairs = one.join(other, on="element").where(
        (col("one") < col("other"))
        & (col("one_size") >= least * col("other_size"))
        & (col("other_size") >= least * col("one_size"))
    )
    pairs = pairs.select("one", "other").distinct()
    for name in ("one", "other"):
        side = sets.select(col("place").alias(name), col("ngrams").alias(f"{name}_ngrams"))
        pairs = pairs.join(side, on=name)
    similarity = jaccard(col("one_ngrams"), col("other_ngrams")).alias("similarity")
    judged = pairs.select("one", "other", similarity)
    return judged.where(col("similarity") >= threshold).to_arrow()


def _lists(series: "daft.Series") -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    lists = series.to_arrow().cast(pa.large_list(pa.uint32()))
    return lists.values.to_numpy(), lists.offsets.to_numpy()


def _stars(pairs: pa.Table, number: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """As `set_join.stars`, where all similar pairs are known and places are ranks."""
    kept, similarity = np.arange(number), np.ones(number, np.float64)
    ranked = pairs.sort_by(
        [("other", "ascending"), ("similarity", "descending"), ("one", "ascending")]
    )
    columns = (ranked[name].to_pylist() for name in ("one", "other", "similarity"))
    for one, other, value in zip(*columns, strict=True):
        if kept[one] == one and kept[other] == other:
            kept[other], similarity[other] = one, value
    return kept, similarity
