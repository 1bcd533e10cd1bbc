"""Sensitive tables at rest: unreadable without the key, tamper-evident, and rotation is safe."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from upath import UPath

from vertical_assets.store import Table
from vertical_assets.store.atomic import locked
from vertical_assets.store.encryption import (
    SIDECAR,
    DecryptionError,
    decryption_properties,
    file_format,
    is_encrypted,
    key_status,
    reading,
    rotate,
    writer_properties,
)
from vertical_assets.store.keys import (
    VARIABLE,
    EncryptionKeyError,
    create_key,
    key_file,
    key_id,
    load_keys,
)
from vertical_assets.store.tables import TableWriter, previous_version, stage_table
from vertical_assets.store.versions import commit, current

SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string(), metadata={"description": "Kennzeichen der Akte"}),
        pa.field("text", pa.string()),
        pa.field("words", pa.list_(pa.string())),
        pa.field("age", pa.int64()),
    ],
    metadata={"owner": "Klinikum Musterstadt"},
)
TEXTS = ["患者张伟, 男, 高血压二级", "Patient Mueller-Lüdenscheidt, hypertension", "患者王芳, 怀孕"]
ROWS = [
    {"doc_id": f"akte-{n:04}", "text": text, "words": text.split(), "age": 7_777_777_000 + n}
    for n, text in enumerate(TEXTS * 40)
]
TABLE = pa.Table.from_pylist(ROWS, SCHEMA)
NEW_KEY = "00112233445566778899aabbccddeeff" * 2


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERTICAL_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "keys" / "encryption.key"


@pytest.fixture(params=["disk", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UPath]:
    """A store on the local disk, and one on a file system of fsspec."""
    path = UPath(tmp_path / "store") if request.param == "disk" else UPath("memory://store")
    yield path
    if request.param == "memory":
        path.fs.rm(path.path, recursive=True)


def write(directory: UPath, *, encrypted: bool = True, compression: str = "zstd") -> UPath:
    """A table version of two parts."""
    directory.mkdir(parents=True)
    properties = writer_properties(directory) if encrypted else None
    for part in range(2):
        with (
            (directory / f"part-{part:05}.parquet").open("wb") as file,
            pq.ParquetWriter(
                file, SCHEMA, compression=compression, encryption_properties=properties
            ) as writer,
        ):
            writer.write_table(TABLE.slice(part * 60, 60), row_group_size=30)
    return directory


def read(directory: UPath) -> pa.Table:
    with reading(directory):
        dataset = pads.dataset(
            directory.path, filesystem=directory.fs, format=file_format(directory)
        )
        return dataset.to_table()


def files(root: UPath) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_an_encrypted_table_is_read_like_a_plain_one(root: UPath) -> None:
    create_key()
    sealed, plain = write(root / "sealed"), write(root / "plain", encrypted=False)
    assert read(sealed) == read(plain) == TABLE
    assert read(sealed).schema.metadata == SCHEMA.metadata
    assert [is_encrypted(path) for path in (sealed, plain)] == [True, False]
    assert [is_encrypted(path / "part-00000.parquet") for path in (sealed, plain)] == [True, False]


def test_columns_and_filters_are_pushed_down_into_encrypted_files(tmp_path: Path) -> None:
    create_key()
    directory = write(UPath(tmp_path / "t"))
    dataset = pads.dataset(directory, format=file_format(directory))
    found = dataset.to_table(columns=["text"], filter=pads.field("doc_id") == "akte-0001")
    assert found.to_pylist() == [{"text": TEXTS[1]}]
    with pq.ParquetFile(
        directory / "part-00000.parquet", decryption_properties=decryption_properties(directory)
    ) as part:
        assert part.metadata.row_group(0).column(0).statistics.min == "akte-0000"


def test_no_plain_text_in_any_byte_that_is_written(tmp_path: Path) -> None:
    """Values, words, numbers, statistics, column names, descriptions and schema metadata."""
    create_key()
    store = UPath(tmp_path / "store")
    write(store / "v" / "raw_corpus" / "d1", compression="none")  # which would hide them too
    pieces = {"Musterstadt", "Kennzeichen", "akte-", *SCHEMA.names}
    for row in ROWS:
        pieces |= {str(row["doc_id"]), *row["text"].replace(",", " ").split()}  # type: ignore[attr-defined]
    wanted = [piece.encode(code) for piece in pieces for code in ("utf-8", "utf-16-le", "gb18030")
              if len(piece.encode(code)) >= 4]  # fmt: skip
    wanted += [row["age"].to_bytes(8, "little") for row in ROWS]  # type: ignore[attr-defined]
    wanted += load_keys().keys.values()

    written = files(store)
    assert len(written) == 3
    assert not [
        (piece, name) for name, data in written.items() for piece in wanted if piece in data
    ]
    # The same search finds them where a table is not encrypted.
    shown = files(write(store / "plain", encrypted=False, compression="none"))
    assert sum(any(piece in data for data in shown.values()) for piece in wanted) > 100


def test_each_version_has_a_data_key_of_its_own(tmp_path: Path) -> None:
    create_key()
    sealed = [write(UPath(tmp_path / name)) for name in "ab"]
    first, second = (json.loads((path / SIDECAR).read_text()) for path in sealed)
    assert first["wrapped_key"] != second["wrapped_key"]
    (sealed[0] / SIDECAR).write_bytes((sealed[1] / SIDECAR).read_bytes())
    with pytest.raises(DecryptionError, match="changed or lost"):
        read(sealed[0])
    with pytest.raises(EncryptionKeyError, match="must not be lost"):
        writer_properties(sealed[1])


def test_without_a_key_nothing_is_written_or_read_and_the_error_says_what_to_do(
    tmp_path: Path, keys: Path
) -> None:
    directory = UPath(tmp_path / "t")
    with pytest.raises(
        EncryptionKeyError, match=rf"{VARIABLE} nor {keys}.*vertical-assets keys cr"
    ):
        write(directory)
    assert not any(directory.iterdir())
    create_key()
    write(directory / "u")
    keys.rename(keys.with_name("lost"))
    with pytest.raises(EncryptionKeyError, match="vertical-assets keys create"):
        read(directory / "u")


def test_another_key_does_not_open_a_table(
    tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = create_key()
    directory = write(UPath(tmp_path / "t"))
    keys.rename(keys.with_name("lost"))
    monkeypatch.setenv(VARIABLE, NEW_KEY)
    with pytest.raises(EncryptionKeyError, match=f"needs the key {first}.*put that key back"):
        read(directory)


@pytest.mark.parametrize("where", [4, 100, 0.3, 0.5, 0.7, -200, -40, -6, -1])
def test_one_flipped_bit_is_noticed(tmp_path: Path, where: float) -> None:
    """In the first page, the middle, the footer, its length and the magic bytes at the end."""
    create_key()
    directory = write(UPath(tmp_path / "t"))
    part = directory / "part-00001.parquet"
    data = bytearray(part.read_bytes())
    data[where if isinstance(where, int) else int(where * len(data))] ^= 1
    part.write_bytes(bytes(data))
    with pytest.raises(DecryptionError, match=r"t: the encrypted data .* changed"):
        read(directory)


@pytest.mark.parametrize("damage", ["flipped", "torn", "gone"])
def test_a_changed_key_file_of_a_table_is_noticed(tmp_path: Path, damage: str) -> None:
    create_key()
    directory = write(UPath(tmp_path / "t"))
    sidecar = directory / SIDECAR
    content = json.loads(sidecar.read_text())
    if damage == "flipped":
        wrapped = bytes([bytes.fromhex(content["wrapped_key"])[0] ^ 1])
        content["wrapped_key"] = wrapped.hex() + content["wrapped_key"][2:]
        sidecar.write_text(json.dumps(content))
    elif damage == "torn":
        sidecar.write_bytes(sidecar.read_bytes()[:30])
    else:
        sidecar.unlink()
    with pytest.raises((EncryptionKeyError, DecryptionError), match=r"changed|damaged"):
        read(directory)


@pytest.mark.parametrize("lost", ["sidecar", "key"])
def test_a_table_that_can_not_be_read_any_more_is_made_anew(
    keys: Path, tmp_path: Path, lost: str
) -> None:
    create_key()
    root, entry = UPath(tmp_path / "store"), UPath(tmp_path / "store") / "v" / "a"
    schema = pa.schema([pa.field("text", pa.string())])
    rows = pa.table({"text": ["a", "b"]}, schema=schema).to_batches()
    commit(stage_table(root, schema, rows, True), entry)
    if lost == "key":
        keys.unlink()
        create_key()
    else:
        Path((current(entry) / "_key.json").path).write_text("{}")
    with pytest.raises((DecryptionError, EncryptionKeyError)):
        Table((current(entry),)).read()
    writer = TableWriter(root, schema, previous_version(entry), True)
    assert not writer.reuse("")
    with writer.part("") as part:
        for batch in rows:
            part.append(batch)
    commit(writer.close(), entry)
    assert Table((current(entry),)).read()["text"].to_pylist() == ["a", "b"]


def test_a_plain_part_slipped_into_an_encrypted_table_is_refused(tmp_path: Path) -> None:
    create_key()
    directory = write(UPath(tmp_path / "t"))
    pq.write_table(TABLE, directory / "part-00001.parquet")
    with pytest.raises(DecryptionError, match="plaintext file"):
        read(directory)


def test_errors_of_plain_tables_and_of_the_disk_stay_what_they_are(tmp_path: Path) -> None:
    plain = write(UPath(tmp_path / "plain"), encrypted=False)
    (plain / "part-00001.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(pa.ArrowInvalid):
        read(plain)
    create_key()
    sealed = write(UPath(tmp_path / "t"))
    with pytest.raises(FileNotFoundError), reading(sealed):
        pq.read_table(sealed / "part-99999.parquet")


# Keys


def test_the_key_file_is_for_its_owner_only(keys: Path) -> None:
    name = create_key()
    assert keys.stat().st_mode & 0o777 == 0o600
    assert load_keys().current == name
    keys.chmod(0o640)
    with pytest.raises(EncryptionKeyError, match=f"mode 0640.*chmod 600 {keys}"):
        load_keys()


def test_a_key_file_is_never_overwritten_and_no_message_shows_a_key(keys: Path) -> None:
    create_key()
    before = keys.read_bytes()
    with pytest.raises(EncryptionKeyError, match="keys rotate"):
        create_key()
    assert keys.read_bytes() == before
    assert next(iter(load_keys().keys.values())).hex() not in repr(load_keys())


@pytest.mark.parametrize("text", [NEW_KEY, "ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8="])
def test_the_environment_gives_a_key_in_hexadecimal_or_base64(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    assert load_keys().current == key_id(bytes.fromhex(NEW_KEY))
    with pytest.raises(EncryptionKeyError, match="unset it first"):
        create_key()


@pytest.mark.parametrize("text", ["secret", "00" * 32, "changeme" * 8, f"{NEW_KEY},x", "zz" * 32])
def test_a_malformed_or_placeholder_key_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(EncryptionKeyError, match=rf"{VARIABLE}, key \d: .*openssl rand") as caught:
        load_keys()
    assert text not in str(caught.value)


@pytest.mark.parametrize("damage", ["{", "[]", '{"current": "a", "keys": {}}'])
def test_a_damaged_key_file_is_told(keys: Path, damage: str) -> None:
    create_key()
    keys.write_text(damage)
    with pytest.raises(EncryptionKeyError, match=r"damaged.*restore it from its backup"):
        load_keys()


def test_a_key_that_is_not_the_one_it_is_called_is_told(keys: Path) -> None:
    name = create_key()
    keys.write_text(keys.read_text().replace(load_keys().keys[name].hex(), NEW_KEY))
    with pytest.raises(EncryptionKeyError, match=f"{name} is not what its id says"):
        load_keys()


# Rotation


def test_rotation_rewraps_every_table_and_leaves_its_files_and_name_alone(root: UPath) -> None:
    old = create_key()
    versions = [root / "v" / "a" / "d1", root / "v" / "b" / "p" / "d2", root / ".staging" / "x"]
    for version in versions:
        write(version)
    before = files(root)
    done = rotate(root)
    assert (done.created, done.rewrapped, done.unchanged, done.dropped) == (True, 3, 0, ())
    after = files(root)
    assert {name for name in before if before[name] != after[name]} == {
        str(version / SIDECAR) for version in versions
    }
    assert before.keys() == after.keys()
    assert all(read(version) == TABLE for version in versions)
    assert [(s.key_id, s.current, s.origin, s.tables) for s in key_status(root)] == [
        (done.current, True, "file", 3),
        (old, False, "file", 0),
    ]


def test_a_retired_key_goes_only_when_asked_for_and_out_of_use(tmp_path: Path) -> None:
    old, root = create_key(), UPath(tmp_path / "store")
    directory = write(root / "v" / "a" / "d1")
    assert old in load_keys().keys
    done = rotate(root, drop_retired=True)
    assert done.dropped == (old,)
    assert set(load_keys().keys) == {done.current}
    assert read(directory) == TABLE


def test_keys_of_the_environment_rotate_by_putting_the_new_one_in_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, root = "f0e1d2c3b4a5968778695a4b3c2d1e0f" * 2, UPath(tmp_path / "store")
    monkeypatch.setenv(VARIABLE, first)
    directory = write(root / "d")
    assert rotate(root).rewrapped == 0
    monkeypatch.setenv(VARIABLE, f"{NEW_KEY},{first}")
    assert read(directory) == TABLE
    done = rotate(root, drop_retired=True)
    assert (done.created, done.rewrapped, done.dropped) == (False, 1, ())
    monkeypatch.setenv(VARIABLE, NEW_KEY)
    assert read(directory) == TABLE
    assert not key_file().exists()


def test_status_names_a_key_that_tables_need_and_nobody_has(
    tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, root = create_key(), UPath(tmp_path / "store")
    write(root / "d")
    keys.unlink()
    monkeypatch.setenv(VARIABLE, NEW_KEY)
    states = {state.key_id: (state.origin, state.tables) for state in key_status(root)}
    assert states == {lost: ("missing", 1), key_id(bytes.fromhex(NEW_KEY)): ("environment", 0)}
    with pytest.raises(EncryptionKeyError, match=f"needs the key {lost}"):
        rotate(root)


class Killed(BaseException):
    """Ends a rotation where a kill would: nothing after it runs."""


def test_a_rotation_that_is_killed_at_any_step_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first file is replaced, the second... : all is readable at every moment."""
    root, old = UPath(tmp_path / "store"), create_key()
    directories = [write(root / "v" / f"a{n}" / "d") for n in range(3)]
    replace_file, step, left = Path.replace, 0, 0

    def dying(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", dying)
    for step in range(10):
        left = step
        try:
            done = rotate(root, drop_retired=True)
        except Killed:
            assert all(read(directory) == TABLE for directory in directories)
        else:
            break
    assert step == 3  # killed three times; what was done stays done, so this is the last step
    assert all(read(directory) == TABLE for directory in directories)
    assert [(s.key_id, s.tables) for s in key_status(root)] == [(done.current, 3)]
    assert done.current != old


@pytest.mark.parametrize("shared", [True, False])
def test_a_table_does_not_get_its_key_behind_a_rotations_back(
    tmp_path: Path, keys: Path, shared: bool
) -> None:
    """A rotation waits for a writer that has read the keys, and writers wait for a rotation."""
    create_key()
    root = UPath(tmp_path / "store")
    with ThreadPoolExecutor(1) as pool:
        with locked(UPath(keys.parent), shared=shared):
            waiting = pool.submit(rotate, root) if shared else pool.submit(write, root / "d")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.1)
        assert waiting.result(timeout=30)


def test_writers_and_a_rotation_at_the_same_time_lose_no_table(tmp_path: Path) -> None:
    create_key()
    root = UPath(tmp_path / "store")
    names = [f"d{n}" for n in range(20)]

    def publish(name: str) -> None:
        """Staged, then renamed into place, as the store does."""
        write(root / ".staging" / name)
        (root / "v").mkdir(exist_ok=True)
        Path(root.path, ".staging", name).rename(Path(root.path, "v", name))

    with ThreadPoolExecutor(3) as pool:
        published = [pool.submit(publish, name) for name in names]
        while not all(future.done() for future in published):
            rotate(root, drop_retired=True)
    for future in published:
        future.result()
    assert all(read(root / "v" / name) == TABLE for name in names)
