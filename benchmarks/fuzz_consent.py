"""Mutated consents in numbers: does any document or record stop a run, and how fast are they read?

    nice -n 15 python -m benchmarks.fuzz_consent [--documents 100000] [--records 1000000] [--seed 1]

Every document is one of twelve consents (R4, R5, STU3) with one to four of its parts removed, renamed, doubled,
swapped or replaced, or with some of its bytes changed. Every record is drawn at random as the rules of precedence see
them. Anything but a judgement or a ``ConsentError`` ends the program; what grants is checked against the laws that
every grant must keep.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path

from privsynth.errors import ConsentError
from privsynth.policy.consent.fhir.files import parse_json
from privsynth.policy.consent.fhir.record import read_record
from privsynth.policy.consent.fhir.rules import judge_subject
from privsynth.policy.consent.verdict import Reason
from tests.policy.consent.made import QUESTION
from tests.policy.consent.mutate import SEEDS, mutated, mutated_bytes, record, tightened

NOWHERE = Path("made-up")


def documents(many: int, seed: int) -> Counter[str]:
    """Judge that many mutated documents; the answers by kind."""
    random_, told = random.Random(seed), Counter[str]()
    for _ in range(many):
        start, faults = random_.choice(SEEDS), frozenset[Reason]()
        if random_.random() < 0.2:
            try:
                raw, doubled = parse_json(mutated_bytes(random_, start), NOWHERE)
            except ConsentError:
                told["refused as no JSON"] += 1
                continue
            faults = frozenset({Reason.MALFORMED}) if doubled else faults
        else:
            raw = mutated(random_, start, random_.randrange(1, 5))
        told[str(judge_subject([read_record(raw, faults=faults)], QUESTION).answer)] += 1
    return told


def records(many: int, seed: int) -> Counter[str]:
    """Judge that many records drawn at random, one to three of them about a subject; the answers by kind."""
    random_, told = random.Random(seed), Counter[str]()
    left = many
    while left > 0:
        held = [record(random_) for _ in range(min(left, random_.randrange(1, 4)))]
        left -= len(held)
        answer = judge_subject(held, QUESTION)
        told[str(answer.answer)] += 1
        if answer.granted:
            assert any(one.base is not None and one.scope == "research" and not one.faults for one in held)
            if len(held) == 1:
                assert not judge_subject([tightened(random_, held[0])], QUESTION).granted
                told["grants taken away by one fault"] += 1
    return told


def main() -> None:
    """Run both and print the counts as one line of JSON each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for name, many, run in (("documents", given.documents, documents), ("records", given.records, records)):
        start = time.perf_counter()
        told = run(many, given.seed)
        took = time.perf_counter() - start
        print(json.dumps({name: many, "seed": given.seed, **dict(sorted(told.items())), "seconds": round(took, 1)}))


if __name__ == "__main__":
    main()
