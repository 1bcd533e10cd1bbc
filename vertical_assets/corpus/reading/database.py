"""Databases: the rows of a query, streamed through SQLAlchemy."""

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

import xxhash

from vertical_assets.corpus.reading.documents import Block, to_json
from vertical_assets.corpus.reading.files import SourceError
from vertical_assets.corpus.reading.parts import SourcePart
from vertical_assets.spec import Source

ROWS_PER_BLOCK = 1024


def query_part(source: Source) -> SourcePart:
    """The query's result as one part; its fingerprint is a digest of all rows, in order.

    Raises:
        SourceError: as `query_blocks`.
    """
    digest = xxhash.xxh3_128()
    for rows in _rows(source):
        for row in rows:
            digest.update(to_json(row).encode())
    return SourcePart("query", digest.hexdigest())


def query_blocks(part: SourcePart, source: Source) -> Iterator[Block]:
    """Rows of the source's query, in the order in which the database gives them.

    Rows without an id have their number as native id: let such a query say ORDER BY.

    Raises:
        SourceError: no such environment variable, URL, driver, database or table; or the result
            is no longer that of the fingerprint.
    """
    digest, number = xxhash.xxh3_128(), 0
    for rows in _rows(source):
        for row in rows:
            digest.update(to_json(row).encode())
        places = [f"{part.name}:{number + i}" for i in range(1, len(rows) + 1)]
        number += len(rows)
        yield Block(places, rows, {})
    if digest.hexdigest() != part.fingerprint:
        raise SourceError(
            f"source {source.name!r}: the query's result changed while it was read; read it again "
            "(a query without ORDER BY may give its rows in another order each time)"
        )


def _rows(source: Source) -> Iterator[list[dict[str, Any]]]:
    from sqlalchemy import URL, create_engine, make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    try:
        url: URL = make_url(_database(source))
    except (ArgumentError, ValueError):  # their messages may hold parts of the password
        raise SourceError(
            f"source {source.name!r}: 'database' is no SQLAlchemy URL such as "
            "postgresql+psycopg://user:password@host/name (special characters as %XX)"
        ) from None
    try:
        engine = create_engine(url)
    except (NoSuchModuleError, ImportError) as error:
        raise SourceError(
            f"source {source.name!r}: {error}; install the driver of {url.drivername!r}"
        ) from None
    try:
        # Without parameters `%` and `:` in the query are what they are.
        options = {"no_parameters": True, "stream_results": True, "yield_per": ROWS_PER_BLOCK}
        with engine.connect().execution_options(**options) as connection:
            found = iter(connection.exec_driver_sql(str(source.query)).mappings())
            while rows := [dict(row) for row in islice(found, ROWS_PER_BLOCK)]:
                yield rows
    except SQLAlchemyError as error:
        words = str(error).replace(url.password or "\0", "***")
        raise SourceError(
            f"source {source.name!r}: the query on {url.render_as_string()} failed: {words}; "
            "correct 'database' or 'query', or start the server"
        ) from None
    finally:
        engine.dispose()


def _database(source: Source) -> str:
    database = str(source.database)
    if not database.startswith("env:"):
        return database
    name = database.removeprefix("env:")
    if name not in os.environ:
        raise SourceError(
            f"source {source.name!r}: environment variable {name!r} is not set; it should hold "
            "the database's SQLAlchemy URL"
        )
    return os.environ[name]
