"""Work on all cores, in order, a few items ahead: for compiled work that leaves the interpreter."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def on_all_cores(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """`map` by threads. No more items are held than there are cores, and one, at a time."""
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        running: deque[Future[B]] = deque()
        for item in items:
            if len(running) > cores:
                yield running.popleft().result()
            running.append(pool.submit(work, item))
        while running:
            yield running.popleft().result()
