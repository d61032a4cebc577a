"""One thread of linear algebra while a portrait is made and pictures are drawn.

Several threads add in another order, so that the same transcript would give another model by its last bits where the
number of cores differs. The matrices are small: one thread costs little.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """While the block runs; put back afterwards."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield
