"""Anonymity: nobody is told from fewer than k, no more is lost than must be, pycanon agrees."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vertical_assets.corpus.authors.anonymity import author_attributes, judge, replace_attributes
from vertical_assets.corpus.authors.generalisation import generalise
from vertical_assets.spec.corpus import Attributes

REGIONS = {
    "Beijing": "North",
    "Tianjin": "North",
    "Harbin": "North",
    "Guangzhou": "South",
    "Shenzhen": "South",
    "North": "China",
    "South": "China",
}
HIERARCHIES: dict[str, Any] = {"age": (5, 10, 20), "region": REGIONS}
ATTRIBUTES = Attributes(
    quasi_identifiers=("age", "region", "gender"),
    sensitive=("illness",),
    k=3,
    hierarchies=HIERARCHIES,
)
NAMES = ["age", "region", "gender", "illness"]


def people(rows: Sequence[tuple[str | None, ...]]) -> pa.Table:
    schema = pa.schema([(name, pa.string()) for name in NAMES])
    return pa.Table.from_pylist([dict(zip(NAMES, row, strict=True)) for row in rows], schema)


def crowd(size: int, seed: int = 1) -> pa.Table:
    """As people are: ages about forty, few in small towns, some things unsaid."""
    rng = np.random.default_rng(seed)
    towns = [name for name, wider in REGIONS.items() if wider != "China"]
    columns = {
        "age": np.clip(rng.normal(40, 15, size), 18, 95).astype(int).astype(str),
        "region": rng.choice(towns, size, p=[0.4, 0.05, 0.05, 0.3, 0.2]),
        "gender": rng.choice(np.array(["f", "m", None], object), size, p=[0.48, 0.48, 0.04]),
        "illness": rng.choice(["flu", "cold", "asthma", "gout"], size, p=[0.5, 0.3, 0.15, 0.05]),
    }
    return pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})


def documents(rows: Sequence[tuple[str, str | None, Any]]) -> list[pa.RecordBatch]:
    schema = pa.schema([(name, pa.string()) for name in ("doc_id", "author_id", "meta")])
    entries = [
        {"doc_id": doc_id, "author_id": author, "meta": json.dumps(meta)}
        for doc_id, author, meta in rows
    ]
    return pa.Table.from_pylist(entries, schema).to_batches(max_chunksize=3)


def wider(value: str | None) -> set[str | None]:
    """All that may be said in the place of a value, straight from the definition."""
    said: set[str | None] = {value, "*"}
    if value is not None and value.isdigit():
        for width in HIERARCHIES["age"]:
            low = int(value) // width * width
            said.add(f"[{low}, {low + width})")
    while value in REGIONS:
        value = REGIONS[value]
        said.add(value)
    return said


person = st.tuples(
    st.sampled_from(["21", "22", "29", "34", "58", "79", "unknown", None]),
    st.sampled_from(["Beijing", "Harbin", "Shenzhen", "North", "Mars", None]),
    st.sampled_from(["f", "m", None]),
    st.sampled_from(["flu", "cold"]),
)


@settings(max_examples=30)
@given(rows=st.lists(person, max_size=40), k=st.integers(2, 6), data=st.data())
def test_k_people_share_what_is_said_and_it_is_true_of_each(
    rows: list[tuple[str | None, ...]], k: int, data: st.DataObject
) -> None:
    attributes = ATTRIBUTES.model_copy(update={"k": k})
    said = generalise(people(rows), attributes).rows.to_pylist()
    for row, exact in zip(said, rows, strict=True):
        shared = [other for other in said if other == row]
        assert len(shared) == row["people"]
        assert len(shared) >= k or [row[name] for name in NAMES[:3]] == ["*"] * 3
        for name, value in zip(NAMES[:3], exact, strict=False):
            assert row[name] in wider(value)
    order = data.draw(st.permutations(range(len(rows))))
    shuffled = generalise(people([rows[i] for i in order]), attributes).rows.to_pylist()
    assert shuffled == [said[i] for i in order]


def test_a_rare_value_is_widened_and_the_others_stay_exact() -> None:
    rows = [("30", "Beijing", "f", "flu")] * 4 + [("30", "Guangzhou", "f", "flu")] * 3
    rows += [("30", "Tianjin", "f", "flu"), ("30", "Harbin", "f", "flu")]
    result = generalise(people(rows), ATTRIBUTES)
    regions = result.rows["region"].to_pylist()
    assert regions == ["North"] * 4 + ["Guangzhou"] * 3 + ["North"] * 2
    # NCP by hand: 6 of 9 people lose 3 of the 4 towns that occur, in one of three attributes.
    assert result.information_loss == pytest.approx(6 / 9 * 3 / 4 / 3)


def test_numbers_are_widened_to_the_narrowest_range_that_k_share() -> None:
    ages = ["30", "31", "33", "36", "37", "39", "52", "52", "52", "91", "92", "-3"]
    result = generalise(people([(age, None, None, None) for age in ages]), ATTRIBUTES)
    assert result.rows["age"].to_pylist() == (
        ["[30, 35)"] * 3 + ["[35, 40)"] * 3 + ["52"] * 3 + ["*"] * 3
    )


def test_less_is_lost_than_by_the_best_that_treats_all_alike() -> None:
    """Full-domain recoding (Samarati, 2001): one level for each attribute, all of them tried."""
    table = crowd(3000).to_pylist()
    span = max(int(row["age"]) for row in table) - min(int(row["age"]) for row in table)
    towns = {"North": 3 / 5, "South": 2 / 5}

    def age(value: str, width: int) -> tuple[int, float]:
        return int(value) // width, min(1.0, width / span) if width > 1 else 0.0

    def region(town: str, wide: bool) -> tuple[str, float]:
        return (REGIONS[town], towns[REGIONS[town]]) if wide else (town, 0.0)

    losses = []
    for width, wide, gender in product((1, 5, 10, 20, 100), (False, True), (False, True)):
        said = [
            (
                age(row["age"], width),
                region(row["region"], wide),
                (gender and row["gender"], gender),
            )
            for row in table
        ]
        if min(Counter(said).values()) >= ATTRIBUTES.k:
            losses.append(np.mean([[a, b, 1 - c] for (_, a), (_, b), (_, c) in said]))
    assert losses
    assert generalise(crowd(3000), ATTRIBUTES).information_loss < min(losses) / 2


def test_pycanon_judges_the_worst_classes_as_it_would_judge_all() -> None:
    from pycanon.anonymity import k_anonymity, l_diversity, t_closeness

    table = crowd(250)
    income = np.random.default_rng(2).integers(1, 20, 250).astype(str)
    table = table.append_column("income", pa.array(income))
    attributes = ATTRIBUTES.model_copy(update={"sensitive": ("illness", "income")})
    generalised = generalise(table, attributes)
    report = judge(table, generalised, attributes)
    frame = generalised.rows.to_pandas().fillna("")
    frame["illness"] = table["illness"].to_pylist()
    frame["income"] = income.astype(float)
    names = list(attributes.quasi_identifiers)
    assert report.k == k_anonymity(frame, names) >= attributes.k
    assert report.l == l_diversity(frame, names, ["illness", "income"])
    assert report.t == pytest.approx(t_closeness(frame, names, ["illness", "income"]))
    assert report.people == 250
    assert report.discernibility == sum(frame.groupby(names).size() ** 2)


def test_too_few_people_are_suppressed_and_counted() -> None:
    few = people([("30", "Beijing", "f", "flu"), ("30", "Beijing", "f", "flu")])
    result = generalise(few, ATTRIBUTES)
    assert result.rows["region"].to_pylist() == ["*", "*"]
    report = judge(few, result, ATTRIBUTES)
    assert (report.suppressed, report.classes, report.k, report.l, report.t) == (
        2,
        0,
        None,
        None,
        None,
    )
    assert report.information_loss == 1.0


def test_values_that_the_hierarchy_lacks_are_counted() -> None:
    rows = [("unknown", "Mars", "f", "flu")] * 3 + [("30", "Beijing", "f", "flu")] * 3
    result = generalise(people(rows), ATTRIBUTES)
    assert result.unplaced == {"age": 3, "region": 3}


def test_an_author_is_one_person_however_many_documents_there_are() -> None:
    one = {"age": 30, "region": "Harbin", "gender": "f", "illness": "gout"}
    rows = [(f"d{n}", "writer", one) for n in range(9)]
    rows += [(f"e{n}", f"a{n}", {**one, "region": "Beijing"}) for n in range(3)]
    rows += [("f", "writer", {**one, "age": 31}), ("silent", "writer", {"title": "x"})]
    result = author_attributes(documents(rows), ATTRIBUTES)
    assert result.report.people == 4
    assert result.rows["doc_id"].to_pylist() == [row[0] for row in rows[:-1]]
    assert set(result.rows["people"].to_pylist()) == {4}
    said = {"age": "30", "gender": "f", "region": "North"}
    assert [json.loads(text) for text in result.rows["attributes"].to_pylist()] == [said] * 13


def test_documents_without_an_author_are_people_of_their_own() -> None:
    rows = [(f"d{n}", None, {"age": "30", "region": "Harbin"}) for n in range(3)]
    result = author_attributes(documents(rows), ATTRIBUTES)
    assert result.report.people == 3
    assert json.loads(result.rows["attributes"][0].as_py()) == {"age": "30", "region": "Harbin"}


def test_documents_no_longer_carry_the_exact_values() -> None:
    table = crowd(200)
    rows = [(f"d{n}", f"a{n}", {**row, "stars": 5}) for n, row in enumerate(table.to_pylist())]
    news = ("news", None, {"stars": 1})
    result = author_attributes(documents([*rows, news]), ATTRIBUTES)
    rows_of_meta = [row[2] for row in rows] + [news[2]]
    meta = pa.array([json.dumps(entry) for entry in rows_of_meta])
    said = pa.concat_arrays(
        [result.rows["attributes"].combine_chunks(), pa.array([None], pa.string())]
    )
    replaced = [json.loads(text) for text in replace_attributes(meta, said, ATTRIBUTES).to_pylist()]
    kept = [{k: entry.get(k) for k in ("illness", "stars")} for entry in replaced]
    assert kept == [{k: row.get(k) for k in ("illness", "stars")} for row in rows_of_meta]
    shared: dict[str, int] = {}
    for entry in replaced[:-1]:
        key = json.dumps([entry.get(name) for name in NAMES[:3]])
        shared[key] = shared.get(key, 0) + 1
    assert min(shared.values()) >= ATTRIBUTES.k


def test_a_document_that_the_table_does_not_know_is_an_error() -> None:
    with pytest.raises(ValueError, match="materialize author_attributes again"):
        replace_attributes(pa.array(['{"age": 30}']), pa.array([None], pa.string()), ATTRIBUTES)


def test_no_documents_say_nothing() -> None:
    result = author_attributes([], ATTRIBUTES)
    assert result.rows.num_rows == result.report.people == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hierarchies": {"age": (5, 12)}}, "multiple"),
        ({"hierarchies": {"age": (0,)}}, "multiple"),
        ({"hierarchies": {"region": {"a": "b", "b": "a"}}}, "itself"),
        ({"hierarchies": {"job": {"a": "b"}}}, "quasi_identifiers"),
        ({"sensitive": ("age",)}, "both"),
        ({"quasi_identifiers": (), "hierarchies": {}}, "empty"),
    ],
)
def test_impossible_attributes_are_named_when_the_yaml_is_read(
    changes: dict[str, Any], message: str
) -> None:
    good = {"quasi_identifiers": ("age", "region"), "hierarchies": {"age": (5, 10)}}
    Attributes(**good)
    with pytest.raises(ValidationError, match=message):
        Attributes(**{**good, **changes})
