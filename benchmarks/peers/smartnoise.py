"""smartnoise-synth 1.0.8 (MST, AIM) with its defaults. Codes go in as they are: no time is lost, and no budget
spent, in its transformers.

Options: model=mst|aim.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.protocol import Draw, Fit, Job, main


def prepare(job: Job) -> Fit:
    """One fit; smartnoise draws its noise from numpy's global generator, seeded here."""
    import pandas as pd
    from snsynth.aim import AIMSynthesizer  # type: ignore[import-not-found]
    from snsynth.mst import MSTSynthesizer  # type: ignore[import-not-found]
    from snsynth.transform import TableTransformer  # type: ignore[import-not-found]

    class Coded(TableTransformer):  # type: ignore[misc]
        """A table that is integer codes already, with its public domain."""

        fit_complete = True
        needs_epsilon = False

        def __init__(self) -> None:
            super().__init__()
            self.output_width = len(job.sizes)

        @property
        def cardinality(self) -> list[int]:
            return list(job.sizes)

        def transform(self, data: Any) -> Any:
            return data.to_numpy()

        def inverse_transform(self, data: Any) -> Any:
            return np.array(list(data))

    np.random.seed(job.seed)
    kind = {"mst": MSTSynthesizer, "aim": AIMSynthesizer}[job.options["model"]]
    frame = pd.DataFrame(job.codes.astype("int64"), columns=job.columns)
    synthesizer = kind(epsilon=job.epsilon, delta=job.delta)

    def fit() -> Draw:
        synthesizer.fit(frame, transformer=Coded())
        return lambda n: np.asarray(synthesizer.sample(n))

    return fit


if __name__ == "__main__":
    main(prepare)
