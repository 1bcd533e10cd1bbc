"""The monthly draw: ten per cent of each annotator's items, the same whenever it is drawn again."""

import math
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from vertical_assets.labels.monthly.draw import draw, time_of
from vertical_assets.store.contracts import ANNOTATIONS


def said(*rows: tuple[str, str, str | None], kind: str = "human") -> pa.Table:
    """ANNOTATIONS: (item, who, when)."""
    return pa.Table.from_pylist(
        [
            {
                "item_id": item,
                "task": "sentiment",
                "annotator_id": who,
                "annotator_kind": kind,
                "label": "positive",
                "batch": "b",
                "created_at": at,
            }
            for item, who, at in rows
        ],
        ANNOTATIONS,
    )


def items(annotations: pa.Table, share: float = 0.1, **more: Any) -> list[str]:
    return [each.item[0] for each in draw(annotations, "2024-03", share, 7, **more).drawn]


def test_a_share_of_each_annotators_items() -> None:
    table = said(
        *((f"a{n}", "anna", "2024-03-05") for n in range(30)),
        *((f"b{n}", "ben", "2024-03-31T23:59:59") for n in range(11)),
        *((f"c{n}", "cleo", "2024-04-01") for n in range(50)),
    )
    found = draw(table, "2024-03", 0.1, 7)
    assert found.items == 41
    strata = [each.stratum for each in found.drawn]
    assert (strata.count("anna"), strata.count("ben"), len(strata)) == (3, 2, 5)
    assert items(table) == items(table.take(list(range(table.num_rows))[::-1]))
    assert items(table) != [each.item[0] for each in draw(table, "2024-03", 0.1, 8).drawn]


def test_nobody_who_knows_an_item_reviews_it() -> None:
    table = said(("x", "ben", "2024-03-02"), ("x", "anna", "2024-03-01"), ("x", "cleo", None))
    (drawn,) = draw(table, "2024-03", 0.1, 7).drawn
    assert drawn.stratum == "anna"  # the first of the month
    assert drawn.annotators == ("anna", "ben", "cleo")


def test_months_are_those_of_utc() -> None:
    assert time_of("2024-02-29T23:30:00-05:00") == "2024-03-01T04:30:00+00:00"
    assert time_of("2024-02-29") == "2024-02-29T00:00:00+00:00"
    assert time_of("yesterday") is None
    table = said(
        ("x", "anna", "2024-02-29T23:30:00-05:00"), ("y", "anna", "soon"), ("z", "anna", None)
    )
    found = draw(table, "2024-03", 1.0, 7)
    assert [each.item for each in found.drawn] == [("x", None)]
    assert found.undated == 2


def test_what_a_machine_said_is_not_reviewed() -> None:
    assert not items(said(("x", "v1", "2024-03-05"), kind="model"), 1.0)


@settings(max_examples=40)
@given(
    st.integers(0, 40),
    st.integers(0, 20),
    st.floats(0.05, 1.0),
)
def test_late_labels_take_no_task_away(early: int, late: int, share: float) -> None:
    first = [(f"i{n}", "anna", "2024-03-05") for n in range(early)]
    before = items(said(*first), share)
    assert len(before) == math.ceil(share * early - 1e-9)
    more = [(f"late{n}", "anna", "2024-03-06") for n in range(late)]
    after = items(said(*first, *more), share, before={(item, None) for item in before})
    assert set(before) <= set(after)
    assert len(after) == math.ceil(share * (early + late) - 1e-9)
