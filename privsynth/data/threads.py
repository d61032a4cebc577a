"""One thread of linear algebra, where what is computed must not hang on the number of cores.

Several threads add in another order: the same transcript would give another model by its last bits, the same rows
another classifier. The matrices are small: one thread costs little.
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
