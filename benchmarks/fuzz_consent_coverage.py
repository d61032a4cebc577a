"""Coverage-guided fuzzing of FHIR consents: bytes → JSON → record → answer, and ISO/IEC TS 27560 records.

    pip install atheris
    nice -n 15 python -m benchmarks.fuzz_consent_coverage -runs=200000 -max_len=4096

Arguments are libFuzzer's. Starts from the twelve consents of ``tests/policy/consent/mutate.py``. Anything but an answer
or a ``ConsentError`` ends the program with the input that did it. atheris is no dependency of the project.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

NOWHERE = Path("made-up")


def main() -> None:
    """Hand over to libFuzzer, which ends the process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["privsynth.policy.consent"]):
        from privsynth.policy.consent.fhir.files import parse_json
        from privsynth.policy.consent.fhir.record import read_record
        from privsynth.policy.consent.fhir.rules import judge_subject
        from privsynth.policy.consent.iso27560 import read_receipt
    from privsynth.errors import ConsentError
    from tests.policy.consent.made import QUESTION
    from tests.policy.consent.mutate import SEEDS

    def one(data: bytes) -> None:
        try:
            raw, _ = parse_json(data, NOWHERE)
        except ConsentError:
            return
        judge_subject([read_record(raw)], QUESTION)
        read_receipt(raw)

    with tempfile.TemporaryDirectory() as folder:
        for i, seed in enumerate(SEEDS):
            (Path(folder) / f"{i}.json").write_text(json.dumps(seed))
        atheris.Setup([*sys.argv, folder], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
