"""What both examples of pictures share: the road, digits where the real pictures are not at hand, and a sheet of
synthetic pictures to look at."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

import privsynth as ps
from privsynth.data.records import Model
from privsynth.data.schema import Categorical
from privsynth.pipeline.study import Study, load_study
from privsynth.signing import Trust, new_key, write_trust

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared" / "data"
"""Where real data sets may lie; nothing needs them."""
GAP, ACROSS = 2, 16

Pixels = npt.NDArray[np.uint8]


def lay_out(name: str, folder: Path) -> Study:
    """Copy ``examples/NAME``, which is what a user writes, and make the key that signs."""
    for path in sorted((HERE / name).glob("*.yaml")):
        shutil.copy(path, folder / path.name)
    write_trust(folder / "trust.json", Trust.of(new_key(folder / "release.key", name="example")))
    return load_study(folder / "study.yaml")


def release(study: Study, by: str) -> None:
    """The whole road in Python, each step taking what the step before it made; then a sheet by values of ``by``."""
    folder, file = study.folder, study.file
    to = {"purpose": file.purpose, "recipient": file.recipient}
    policy, schema = ps.load_policy(folder / "policy.yaml"), ps.load_schema(folder / "schema.yaml")
    ledger = ps.open_ledger(f"sqlite:///{folder}/ledger.db", policy, actor=file.actor or "")

    records = ps.read_images(folder / file.data, schema)
    split = ps.filter_consent(records, policy, **study.consent_given, **to).split(ledger)
    print(f"read the pictures by the schema, kept who may be read; {policy.sources[schema.source].holdout} held out")

    recipe = ps.ImageStatistics(schema, ps.Budget(file.generator.epsilon, file.generator.delta), by=study.recipe.by)
    hold = ledger.reserve(recipe, consent=study.consent, **to)
    model = recipe.fit(split.train, hold)
    approved = ps.gate(model, split, hold=hold, policy=policy)
    for finding in approved.claims.findings:
        print(f"  gate: {finding.name}: {finding.figure}; limit: {finding.limit} ({finding.cost})")

    synth = model.sample(file.sample.rows, balance=study.balance(), seed=file.sample.seed)
    approved.release(synth).sign(folder / "release.key").write(folder / "release")
    found = ps.verify(folder / "release", trust=folder / "trust.json", recipient=file.recipient)
    print(f"signed and verified: {found.rows:,} synthetic rows, each with a picture, in {found.folder}")
    print(f"look at {sheet(model, by, folder / 'sheet.png')}: a row of synthetic pictures for each {by}")
    for line in ledger.balances():
        print(f"  budget of {line.over} {line.name}: {line.spent_share():.0%} spent, for ever")


def sheet(model: Model, column: str, path: Path) -> Path:
    """A row of synthetic pictures for each value of a column, as one PNG file: for a person to look at."""
    rows = []
    coded = model.codec.columns[model.codec.index[column]]
    values = coded.column.values if isinstance(coded.column, Categorical) else (False, True)
    for seed, value in enumerate(values):
        drawn = model.sample(ACROSS, where={column: value}, seed=seed)
        pictures = next(iter(drawn.pictures.values())).pixels
        around = ((0, 0), (GAP, GAP), (GAP, GAP), (0, 0))[: pictures.ndim]
        rows.append(np.concatenate(list(np.pad(pictures, around)), axis=1))
    whole = Image.fromarray(np.concatenate(rows))
    scale = max(1, 1000 // whole.width)
    whole.resize((whole.width * scale, whole.height * scale), Image.Resampling.NEAREST).save(path)
    return path


def digits() -> pd.DataFrame:
    """1,797 handwritten digits (scikit-learn's, from NIST): a row with a PNG file each."""
    bundle: Any = load_digits()
    pixels = (bundle.images * 15.9375).astype(np.uint8)
    return pd.DataFrame(
        {
            "person": [f"digit-{i:04d}" for i in range(len(pixels))],
            "digit": bundle.target,
            "even": bundle.target % 2 == 0,
            "scan": [png(picture) for picture in pixels],
        }
    )


def png(picture: Pixels) -> bytes:
    """One picture as a file."""
    sink = io.BytesIO()
    Image.fromarray(picture).save(sink, "PNG")
    return sink.getvalue()
