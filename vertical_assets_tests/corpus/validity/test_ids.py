"""Ids seen before are found over the whole column, however it is cut."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertical_assets.corpus.reading.sources import document_id
from vertical_assets.corpus.validity.ids import repeated


@given(
    natives=st.lists(st.integers(0, 8), max_size=30), cuts=st.lists(st.integers(0, 30), max_size=4)
)
def test_the_second_and_later_times_are_found(natives: list[int], cuts: list[int]) -> None:
    ids = pa.array([document_id("s", str(native)) for native in natives], pa.string())
    ends = [*sorted(min(cut, len(ids)) for cut in cuts), len(ids)]
    chunks = [ids[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    found = list(repeated(chunks))
    assert [len(mask) for mask in found] == [len(chunk) for chunk in chunks]
    wanted = [native in natives[:place] for place, native in enumerate(natives)]
    assert [bool(each) for mask in found for each in mask] == wanted


def test_half_an_id_in_common_is_another_id() -> None:
    ids = ["0" * 32, "0" * 31 + "1", "1" + "0" * 31, "0" * 32]
    (found,) = repeated([pa.array(ids)])
    assert found.tolist() == [False, False, False, True]


def test_what_is_no_id_is_an_error() -> None:
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        list(repeated([pa.array(["17"])]))
