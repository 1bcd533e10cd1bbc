"""Files of people's labels, in whatever form: what the rooms of the labels read them by."""

from collections.abc import Iterator

from upath import UPath

from vertical_assets.corpus.reading.sources import Row, read_file
from vertical_assets.labels.studio.formats import rows_of as exported_rows
from vertical_assets.spec import Source, VerticalSpec

UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".swp", "~")


def is_finished(file: UPath) -> bool:
    """Whether a file's name tells neither that it is still being written nor an editor's backup."""
    return not file.name.lower().endswith(UNFINISHED)


def people(path: str | None) -> Source:
    """A drop folder as a source: the same readers serve documents and labels."""
    return Source(name="people", kind="user", licence="own", path=path, format=None)


def rows_of(file: UPath, spec: VerticalSpec) -> Iterator[Row]:
    """Rows of one file of labels as it has them; one that can't be opened is one row that says so.

    Args:
        file: JSON lines, CSV, TSV or Parquet, maybe compressed; or what Label Studio, doccano or
            Argilla export.
        spec: sections `annotation`, `task`.
    """
    return exported_rows(file, spec) or read_file(file, people(spec.annotation.path))
