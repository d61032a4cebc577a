"""Faces: pictures of adults with age, gender and race, from a Parquet file to a signed release with balanced groups.

    python examples/faces.py [FOLDER]

The pictures are 10,000 of FairFace (Karkkainen & Joo, CC BY 4.0) where ../shared/data/fairface64 lies beside this
repository; elsewhere scikit-learn's digits stand in. Minors are left out by the schema's rule. The policy asks for a
written release of each person, as policies/faces.yaml does; the register here is MADE UP by this script. All files
that a user writes are left in FOLDER, the study for the command line (`privsynth plan FOLDER/study.yaml`) among them.

The release holds equally many faces of each race and gender, drawn from the one fit that was paid for: what is known
of a rare group is not more for that. Look at sheet.png before you use them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pictures
from asked import folder_asked

from privsynth.errors import PrivsynthError

FACES = pictures.SHARED / "fairface64" / "fairface64_train.parquet"
SIGNED = 0.97


def main() -> None:
    """Lay out, then release."""
    folder = folder_asked(__doc__ or "")
    if FACES.exists():
        faces = pd.read_parquet(FACES)
        faces.to_parquet(folder / "faces.parquet", index=False)
        register(faces["file"].astype(str), folder)
        pictures.release(pictures.lay_out("faces", folder), "race")
    else:
        print("no faces at hand (../shared/data/fairface64): handwritten digits stand in")
        pictures.digits().to_parquet(folder / "digits.parquet", index=False)
        pictures.release(pictures.lay_out("digits", folder), "digit")


def register(people: pd.Series[str], folder: Path) -> None:
    """Who signed a written release, as an institution keeps it: MADE UP, nobody was asked."""
    signed = people[np.random.default_rng(7).random(len(people)) < SIGNED]
    lines = pd.DataFrame({"subject": signed, "status": "granted", "purpose": "fairness-research", "recipient": "*"})
    lines.assign(**{"from": "2026-01-01", "until": ""}).to_csv(folder / "consent.csv", index=False)
    (folder / "MADE-UP.txt").write_text("consent.csv is made up by examples/faces.py: nobody was asked.\n")
    print(f"{len(signed):,} of {len(people):,} people signed a release: made up by examples/faces.py")


if __name__ == "__main__":
    try:
        main()
    except PrivsynthError as error:
        sys.exit(str(error))
