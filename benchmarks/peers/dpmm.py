"""dpmm 0.1.9 (MST, AIM): the pipeline without its binning, on codes and their public domain; defaults otherwise.

Options: model=mst|aim.
"""

from __future__ import annotations

from benchmarks.peers.protocol import Draw, Fit, Job, main


def prepare(job: Job) -> Fit:
    """One fit; the seed is dpmm's ``random_state``."""
    import pandas as pd
    from dpmm.pipelines import AIMPipeline, MSTPipeline  # type: ignore[import-not-found]

    frame = pd.DataFrame(job.codes.astype("int64"), columns=job.columns)
    kind = {"mst": MSTPipeline, "aim": AIMPipeline}[job.options["model"]]
    pipeline = kind(epsilon=job.epsilon, delta=job.delta, n_jobs=1, disable_processing=True)

    def fit() -> Draw:
        pipeline.fit(frame, domain=dict(zip(job.columns, job.sizes, strict=True)), random_state=job.seed)
        return lambda n: pipeline.generate(n_records=n, random_state=job.seed)[job.columns].to_numpy()

    return fit


if __name__ == "__main__":
    main(prepare)
