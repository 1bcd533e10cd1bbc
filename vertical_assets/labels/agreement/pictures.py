"""What pictures of an AGREEMENT table show."""

import numpy as np
import pyarrow as pa

MOST_PEOPLE = 30  # whose names can be read beside a heat map


def pair_heat_map(report: pa.Table) -> tuple[np.ndarray, list[str]]:
    """(annotators x annotators, their names): alpha of every pair, nan where they share no item; of
    many annotators, those who share most items with others.
    """
    pairs = {
        tuple(row["name"].split(" | ", 1)): row
        for row in report.to_pylist()
        if row["scope"] == "pair" and row["statistic"] == "alpha"
    }
    shared: dict[str, int] = {}
    for pair, row in pairs.items():
        for name in pair:
            shared[name] = shared.get(name, 0) + row["items"]
    names = sorted(sorted(shared, key=lambda name: (-shared[name], name))[:MOST_PEOPLE])
    place = {name: number for number, name in enumerate(names)}
    values = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(values, 1.0)
    for (a, b), row in pairs.items():
        if a in place and b in place and row["value"] is not None:
            values[place[a], place[b]] = values[place[b], place[a]] = row["value"]
    return values, names
