"""OpenDP 0.16 with mbi (MST, AIM): its contingency table, with every column's keys public.

The budget is the ρ of zCDP that implies (ε, δ). OpenDP adds a null key to every column: rows that draw it take
the column's first code. Its noise cannot be seeded. Options: model=mst|aim (AIM: 2-way workload, 80 MB).
"""

from __future__ import annotations

import numpy as np

from benchmarks.peers.protocol import Draw, Fit, Job, main, rho_of


def prepare(job: Job) -> Fit:
    """One fit, and the release of its contingency table."""
    import opendp.prelude as dp
    import polars as pl  # type: ignore[import-not-found]
    from opendp.extras import mbi
    from opendp.mod import OpenDPException

    dp.enable_features("contrib")
    frame = pl.DataFrame({name: job.codes[:, i].astype("int64") for i, name in enumerate(job.columns)})
    rho = rho_of(job.epsilon, job.delta)
    algorithm = {"mst": mbi.MST(), "aim": mbi.AIM(queries=2, max_size=80.0)}[job.options["model"]]
    keys = {name: list(range(size)) for name, size in zip(job.columns, job.sizes, strict=True)}

    def fit() -> Draw:
        # the library adds its parts up past a cap that is met exactly; some budget a hair below it passes
        for shrink in (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 0.0):
            try:
                context = dp.Context.compositor(
                    data=frame.lazy(), privacy_unit=dp.unit_of(contributions=1), privacy_loss=dp.loss_of(rho=rho)
                )
                query = context.query(rho=rho * (1 - shrink))
                table = query.contingency_table(keys=keys, algorithm=algorithm).release()
                break
            except OpenDPException as wrong:
                if not shrink or "insufficient budget" not in str(wrong):
                    raise

        def draw(n: int) -> object:
            rows = table.synthesize(n)
            return np.column_stack([rows[name].fill_null(0).to_numpy() for name in job.columns])

        return draw

    return fit


if __name__ == "__main__":
    main(prepare)
