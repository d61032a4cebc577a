"""What private noise costs: seconds to build the table of a sigma, and seconds for a million draws."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from privsynth.privacy.noise import SecureNoise, dyadic_at_least

DRAWS = 1_000_000


def seconds_of(sigma: float) -> tuple[float, float]:
    """(first use of ``sigma``, one million draws after it), in seconds."""
    counts, source = np.zeros(DRAWS, dtype=np.int64), SecureNoise()
    began = perf_counter()
    source.add(counts[:1], sigma=sigma)
    built = perf_counter()
    source.add(counts, sigma=sigma)
    return built - began, perf_counter() - built


def main() -> None:
    """Print one line for each sigma."""
    print("sigma, rows   table, s   1M draws, s")
    for sigma in map(dyadic_at_least, (1.0, 10.0, 100.0, 1000.0)):
        table, draws = seconds_of(sigma)
        print(f"{sigma:>11g}   {table:>8.3f}   {draws:>11.3f}")


if __name__ == "__main__":
    main()
