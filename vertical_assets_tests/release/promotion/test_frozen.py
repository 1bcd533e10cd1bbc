"""The frozen test set and what models have seen."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from vertical_assets.release.promotion.frozen import (
    TRAINED_ON,
    as_bytes,
    frozen_digest,
    frozen_test,
    leaked,
    read_trained_on,
    trained_on,
)
from vertical_assets.store.contracts import LABELED


def item(name: str, split: str, text: str, group: str | None = None) -> dict[str, object]:
    return {
        "item_id": name,
        "text": text,
        "task": "sentiment",
        "label": "positive",
        "confidence": 1.0,
        "n_annotators": 3,
        "method": "majority",
        "split": split,
        "cluster_id": group or name,
    }


def labeled(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), LABELED)


BEFORE = labeled(
    item("a", "train", "good"),
    item("b", "validation", "bad"),
    item("c", "train", "fine", group="family"),
    item("d", "test", "never seen"),
)


def test_an_item_is_known_by_id_by_group_and_by_text() -> None:
    now = labeled(
        item("a", "test", "reworded"),
        item("x", "test", " BAD "),
        item("y", "test", "another", group="family"),
        item("d", "test", "never seen"),
        item("z", "test", "new"),
    )
    assert leaked(now, trained_on(BEFORE)).tolist() == [True, True, True, False, False]


def test_a_group_is_not_taken_for_an_item_of_its_name() -> None:
    now = labeled(item("family", "test", "new", group="another"))
    assert not leaked(now, trained_on(BEFORE)).any()


def test_no_test_items_are_no_rows() -> None:
    assert leaked(frozen_test(labeled()), trained_on(BEFORE)).shape == (0,)
    assert len(trained_on(labeled())) == 0


def test_what_was_trained_on_is_read_back(tmp_path: Path) -> None:
    seen = trained_on(BEFORE)
    (tmp_path / TRAINED_ON).write_bytes(as_bytes(seen))
    assert np.array_equal(read_trained_on(UPath(tmp_path)), seen)


@given(st.permutations(range(4)), st.text(max_size=5))
def test_the_digest_is_of_the_test_items_in_any_order(order: list[int], text: str) -> None:
    tested = [item(name, "test", f"text {name}") for name in "abcd"]
    digest = frozen_digest(labeled(*tested))
    shuffled = labeled(item("t", "train", text), *(tested[place] for place in order))
    assert frozen_digest(shuffled) == digest
    assert frozen_digest(labeled(*tested[:3])) != digest
    assert frozen_digest(labeled({**tested[0], "label": "negative"}, *tested[1:])) != digest
