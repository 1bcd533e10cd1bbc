"""Diversity of sources: who contributes how much, and how many sources that amounts to (D2)."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

_BY = ["source", "kind", "language"]


class Diversity:
    """Rows and characters by source, kind and language, counted as DOCUMENTS pass by."""

    def __init__(self) -> None:
        self.rows: Counter[tuple[str, ...]] = Counter()
        self.characters: Counter[tuple[str, ...]] = Counter()

    def counted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Passes the batches on, each counted."""
        for batch in batches:
            narrow = pa.table(batch.select(_BY)).append_column(
                "characters", pc.utf8_length(batch["text"])
            )
            found = narrow.group_by(_BY).aggregate([([], "count_all"), ("characters", "sum")])
            for row in found.to_pylist():
                key = tuple(row[name] for name in _BY)
                self.rows[key] += row["count_all"]
                self.characters[key] += row["characters_sum"]
            yield batch

    def figures(self) -> Counter[str]:
        """The counts under keys of one text each, as a table's part keeps them."""
        return Counter(
            {
                "\t".join((*key, name)): count
                for name in ("rows", "characters")
                for key, count in getattr(self, name).items()
            }
        )

    @classmethod
    def of(cls, figures: Mapping[str, int]) -> Self:
        """From the sums of `figures`."""
        found = cls()
        for key, count in figures.items():
            *group, name = key.split("\t")
            getattr(found, name)[tuple(group)] += count
        return found

    def table(self) -> list[dict[str, Any]]:
        """One row by source, kind and language: rows, characters, share of the characters."""
        total = sum(self.characters.values())
        return [
            {
                **dict(zip(_BY, key, strict=True)),
                "rows": self.rows[key],
                "characters": self.characters[key],
                "share": self.characters[key] / total if total else 0.0,
            }
            for key in sorted(self.rows)
        ]

    def effective_sources(self) -> float:
        """How many equally large sources would be as diverse: exp of the Shannon entropy of the
        sources' shares of the characters (Hill 1973, number of order 1; Jost 2006)."""
        shares = Counter[str]()
        for (source, _, _), characters in self.characters.items():
            shares[source] += characters
        total = sum(shares.values())
        return math.exp(
            -sum(n / total * math.log(n / total) for n in shares.values() if n) if total else 0.0
        )

    def evenness(self) -> float:
        """Pielou's evenness (1966): Shannon entropy over its maximum; 1 where all are as large."""
        sources = len({source for source, _, _ in self.rows})
        return math.log(self.effective_sources()) / math.log(sources) if sources > 1 else 1.0


def diversity_figures(batch: pa.RecordBatch) -> Counter[str]:
    """One batch's rows and characters by source, kind and language."""
    diversity = Diversity()
    for _ in diversity.counted([batch]):
        pass
    return diversity.figures()
