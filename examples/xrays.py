"""Chest x-rays, each with its finding: from pictures and a table to a signed release, half of it pneumonia.

    python examples/xrays.py [FOLDER]

The pictures are the 5,856 of PneumoniaMNIST (Kermany et al. 2018, MedMNIST v2, CC BY 4.0) where
../shared/data/pneumoniamnist lies beside this repository; elsewhere scikit-learn's digits stand in. All files that a
user writes are left in FOLDER (new or empty; a temporary one where none is named), the study for the command line
(`privsynth plan FOLDER/study.yaml`) among them. Look at sheet.png before you use the pictures.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pictures
from asked import folder_asked

from privsynth.errors import PrivsynthError

XRAYS = pictures.SHARED / "pneumoniamnist" / "pneumoniamnist.npz"


def main() -> None:
    """Lay out, then release."""
    folder = folder_asked(__doc__ or "")
    if XRAYS.exists():
        xrays().to_parquet(folder / "xrays.parquet", index=False)
        pictures.release(pictures.lay_out("xrays", folder), "pneumonia")
    else:
        print("no x-rays at hand (../shared/data/pneumoniamnist): handwritten digits stand in")
        pictures.digits().to_parquet(folder / "digits.parquet", index=False)
        pictures.release(pictures.lay_out("digits", folder), "digit")


def xrays() -> pd.DataFrame:
    """A row with a PNG file for each x-ray of the three official parts."""
    with np.load(XRAYS) as held:
        pixels = np.concatenate([held[f"{part}_images"] for part in ("train", "val", "test")])
        found = np.concatenate([held[f"{part}_labels"].ravel() for part in ("train", "val", "test")])
    return pd.DataFrame(
        {
            "patient": [f"child-{i:04d}" for i in range(len(pixels))],
            "pneumonia": found == 1,
            "xray": [pictures.png(picture) for picture in pixels],
        }
    )


if __name__ == "__main__":
    try:
        main()
    except PrivsynthError as error:
        sys.exit(str(error))
