"""AIM by its author's script, in a checkout of github.com/ryan112358/private-pgm.

Its 2-way workload, its cap of 80 MB, 300 iterations of each estimate.
Pairs of more than 10,000 cells are not in the workload, as on the script's own command line.
Options: repo=FOLDER, max_cells=NUMBER (0: no limit).
"""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import numpy as np

from benchmarks.peers.protocol import Draw, Fit, Job, main


def prepare(job: Job) -> Fit:
    """One run of the script's ``AIM``, which draws its noise from numpy's global generator, seeded here."""
    repo = Path(job.options["repo"])
    sys.path[:0] = [str(repo / "src"), str(repo / "mechanisms")]
    import pandas as pd
    from aim import AIM  # type: ignore[import-not-found]
    from mbi import Dataset, Domain  # type: ignore[import-not-found]

    np.random.seed(job.seed)
    data = Dataset(pd.DataFrame(job.codes.astype("int64"), columns=job.columns), Domain(job.columns, job.sizes))
    limit = int(job.options.get("max_cells", "10000")) or math.inf
    pairs = [pair for pair in itertools.combinations(job.columns, 2) if data.domain.size(pair) <= limit]
    mechanism = AIM(job.epsilon, job.delta, max_model_size=80, max_iters=300)

    def fit() -> Draw:
        model, _ = mechanism.run(data, [(pair, 1.0) for pair in pairs], num_synth_rows=len(job.codes))
        return lambda n: model.synthetic_data(rows=n).df[job.columns].to_numpy()

    return fit


if __name__ == "__main__":
    main(prepare)
