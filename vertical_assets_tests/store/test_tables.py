"""Tables of parts: what has not changed is linked from the previous version, never made again."""

from pathlib import Path

import pyarrow as pa
import pytest
from upath import UPath

from vertical_assets.store import Table, tables
from vertical_assets.store.tables import (
    TableWriter,
    grouped,
    previous_version,
    stage_table,
)
from vertical_assets.store.versions import PARTS, commit, current, purge

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64()),
        pa.field("text", pa.string()),
        pa.field("words", pa.list_(pa.string())),
        pa.field("good", pa.bool_()),
    ]
)


def batch(rows: list[int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [
            {
                "id": None if n % 7 == 3 else n,
                "text": None if n % 5 == 1 else f"文 {n}",
                "words": None if n % 11 == 2 else ["文", str(n)][: n % 3],
                "good": n % 2 == 0,
            }
            for n in rows
        ],
        SCHEMA,
    )


def write(root: UPath, entry: UPath, parts: dict[str, list[int]]) -> int:
    """Commits a table with these parts; returns how many of them were made."""
    writer = TableWriter(root, SCHEMA, previous_version(entry))
    for key, rows in parts.items():
        if not writer.reuse(key):
            with writer.part(key) as part:
                part.append(batch(rows))
                part.figures["odd"] += sum(n % 2 for n in rows)
    commit(writer.close(), entry)
    return writer.made


@pytest.mark.parametrize("where", ["local", "memory"])
def test_only_new_parts_are_made(tmp_path: Path, where: str) -> None:
    root = UPath(tmp_path) if where == "local" else UPath(f"memory://{tmp_path.name}")
    entry = root / "v" / "a"
    assert write(root, entry, {"one": [1, 2], "two": [3]}) == 2
    first = current(entry).name
    assert write(root, entry, {"one": [1, 2], "two": [3]}) == 0
    assert current(entry).name == first
    assert write(root, entry, {"one": [1, 2], "new": [4, 5], "two": [3]}) == 1
    table = Table((current(entry),))
    assert table.read()["good"].to_pylist() == [False, True, True, False, False]
    assert [part.figures for part in table.parts()] == [{"odd": 1}, {"odd": 1}, {"odd": 1}]
    assert table.rows == 5


def test_the_version_tells_what_is_in_it_not_how_it_came_about(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    for entry, keys in ((root / "a", ["x", "y"]), (root / "b", ["p", "q"])):
        write(root, entry, {keys[0]: [1], keys[1]: [2]})
    assert current(root / "a").name == current(root / "b").name


def test_the_same_content_under_new_keys_is_known_by_them(tmp_path: Path) -> None:
    root, entry = UPath(tmp_path), UPath(tmp_path) / "v" / "a"
    assert write(root, entry, {"old": [1]}) == 1
    assert write(root, entry, {"new": [1]}) == 1  # made anew: the code changed, say
    assert write(root, entry, {"new": [1]}) == 0


def test_a_table_from_before_parts_is_made_anew(tmp_path: Path) -> None:
    root, entry = UPath(tmp_path), UPath(tmp_path) / "v" / "a"
    write(root, entry, {"one": [1]})
    (current(entry) / PARTS).unlink()
    assert previous_version(entry) is None
    assert write(root, entry, {"one": [1], "two": [2]}) == 2


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    commit(TableWriter(UPath(tmp_path), SCHEMA).close(), UPath(tmp_path) / "v" / "a")
    assert Table((current(UPath(tmp_path) / "v" / "a"),)).read().schema.names == SCHEMA.names


def test_small_parts_are_grouped_and_an_insertion_stays_local(tmp_path: Path) -> None:
    root = UPath(tmp_path)

    def groups(names: list[int]) -> list[list[str]]:
        entry = root / "v" / "many"
        write(root, entry, {f"{n:04d}": [n] for n in names})
        found = grouped(Table((current(entry),)).parts())
        return [[part.digest for part in group] for group in found]

    before = groups(list(range(0, 1200, 2)))
    after = groups(sorted([*range(0, 1200, 2), 301]))
    assert len(before) < 100
    assert sum(group not in before for group in after) <= 2


def test_purge_leaves_current_versions_only(tmp_path: Path) -> None:
    root = UPath(tmp_path)
    for entry in (root / "v" / "a", root / "v" / "b" / "part"):
        for number in (1, 2):
            commit(stage_table(root, SCHEMA, [batch([number])]), entry)
    assert purge(root / "v") == 2
    assert Table((current(root / "v" / "a"),)).read()["id"].to_pylist() == [2]
    assert purge(root / "v") == 0


def test_reading_batch_by_batch_keeps_no_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROWS_PER_GROUP", 256)
    schema = pa.schema([pa.field("text", pa.string())])
    entry = tmp_path / "v" / "long"
    texts = pa.table({"text": [f"{n:08d}" * 2_000 for n in range(2_048)]}, schema)
    commit(stage_table(UPath(tmp_path), schema, texts.to_batches(256)), UPath(entry))
    whole = texts.nbytes
    del texts
    before = pa.total_allocated_bytes()
    most, rows = 0, 0
    for one in Table((current(UPath(entry)),)).batches():
        rows += one.num_rows
        most = max(most, pa.total_allocated_bytes() - before)
    assert rows == 2_048
    assert most < whole / 2
