"""Cleaning on all cores, in order: in processes, since most of it is work in Python."""

import multiprocessing
import os
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Self

import pyarrow as pa
from upath import UPath

from vertical_assets.corpus.cleaning.pipeline import Cleaning
from vertical_assets.spec import VerticalSpec

Cleaned = tuple[pa.RecordBatch, Counter[str], Counter[str]]
MANY_ROWS = 50_000  # below, processes take longer to start than they save

_cleaning: Cleaning  # a worker's own


def cleaned_batches(
    batches: Iterable[pa.RecordBatch], cleaning: Cleaning, workers: "Workers | None"
) -> Iterator[Cleaned]:
    """CLEAN_DOCUMENTS of each batch of DOCUMENTS; what was changed; what a second pass found."""
    if workers is None:
        return (_clean(batch, cleaning) for batch in batches)
    return workers.map(batches)


class Workers:
    """Processes that clean, one per core."""

    def __init__(self, spec: VerticalSpec, folder: UPath) -> None:
        self.cores = os.cpu_count() or 1
        self._pool = ProcessPoolExecutor(
            self.cores,
            # A fork would take over locks that threads of Arrow hold.
            multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(spec, folder),
        )

    def map(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Cleaned]:
        """In order; no more batches are held than there are cores, and two, at a time."""
        running: deque[Future[Cleaned]] = deque()
        for batch in batches:
            if len(running) > self.cores + 1:
                yield running.popleft().result()
            running.append(self._pool.submit(_work, batch))
        while running:
            yield running.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def _start(spec: VerticalSpec, folder: UPath) -> None:
    global _cleaning
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _cleaning = Cleaning(spec, folder)


def _end_with_parent() -> None:
    """A pool whose parent is killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(batch: pa.RecordBatch) -> Cleaned:
    return _clean(batch, _cleaning)


def _clean(batch: pa.RecordBatch, cleaning: Cleaning) -> Cleaned:
    result, counts = cleaning(batch)
    return result, counts, cleaning.left(result)
