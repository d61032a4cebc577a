"""An attack on a whole ``Marginals.fit``: learned cells, open categories, a learned dependency, public help, and every
stage of the tables over cells, from raw rows, under a hold that a ledger sold.

Two neighbouring raw tables, both read, filtered by consent and split by the same coins; the subject's k rows, alike,
are in one training side and not in the other. Each is fitted many times, with noise of its own. All that is left out
is that a hold opens once: :class:`Reopened` is a sold hold that forgets that it was opened. The onlooker is that of
``auditing.py``, who also plays the domain stage again: which tables it asked for follows from those before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from scipy.special import log_ndtr

import privsynth as ps
from benchmarks.auditing import Floats, Ints, Told, exact, scores
from benchmarks.fitting import policy_text
from privsynth.data.codec import Codec, Listed, Ranged, coded_column
from privsynth.data.columns import Categorical
from privsynth.data.records import Records, Split, Train
from privsynth.data.schema import parse_schema
from privsynth.generators.marginals import Marginals
from privsynth.generators.marginals.dependencies import count_beside
from privsynth.generators.marginals.domains import lay_out_domains, learned_maps, positions
from privsynth.generators.marginals.grid import Level, Mask
from privsynth.generators.marginals.public import PublicHelp, PublicRows, read_public
from privsynth.generators.marginals.transcript import LEVEL, VOTES, MarginalTranscript, Measurement
from privsynth.generators.marginals.tree import learn_edges
from privsynth.generators.marginals.votes import count_votes
from privsynth.generators.marginals.workload import Query, Workload
from privsynth.ledger.store import Hold
from privsynth.privacy.budget import Budget
from privsynth.privacy.gdp import epsilon_of, threshold_of
from privsynth.privacy.noise import NoiseSource

K, PEOPLE = 4, 1000
SCHEMA = """\
privsynth-schema: 1
source: made/whole
subject: {column: person, at most: 4 rows}
columns:
  person: {kind: identifier}
  ward: {kind: categorical, open: true, nullable: true}
  site: {kind: categorical, values: [N, S], nullable: true}
  hours: {kind: real, min: 0, max: 100, decimals: 1, nullable: true}
  ill: {kind: boolean}
  sort: {kind: categorical, values: [u, v, w]}
determines: [ward -> site]
"""


@dataclass(frozen=True)
class Reopened(Hold):
    """A sold hold that opens as often as it is asked, and keeps nothing: all else is the sold one's."""

    @classmethod
    def of(cls, hold: Hold) -> Reopened:
        """Of a sold one."""
        return cls(**{name: getattr(hold, name) for name in hold.__dataclass_fields__})

    def open_fit(self, *, recipe: str, source: str, purpose: str, recipient: str, benchmark: bool = False) -> None:
        """Not recorded."""

    def deposit(self, transcript: bytes) -> None:
        """Not kept."""


@dataclass(frozen=True)
class Whole:
    """A recipe, its hold, and the training sides of two neighbouring tables.

    Attributes:
        trains: without the subject, and with her.
        public: rows of the public table that the recipe declares.
    """

    recipe: Marginals
    hold: Reopened
    trains: tuple[Train, Train]
    public: PublicRows

    @property
    def mu(self) -> float:
        """As stated of the fit."""
        return self.hold.prices.mu_fit

    def run(self, train: Train, noise: NoiseSource) -> MarginalTranscript:
        """What one fit leaves."""
        return self.recipe.fit(train, self.hold, noise=noise, public=self.public).transcript

    def told(self, noise: NoiseSource, *, runs: int) -> Told:
        """The onlooker's scores of ``runs`` fits of each table."""
        one, other = ([self.scores(self.run(train, noise)) for _ in range(runs)] for train in self.trains)
        return one, other

    def scores(self, transcript: MarginalTranscript) -> dict[str, float]:
        """As :func:`benchmarks.auditing.scores`, with the domain stage in the likelihood."""
        codec = Codec(self.recipe.schema, transcript.learned)
        without, with_her = (codec.encode(train.records.frame) for train in self.trains)
        out = scores(transcript, without, with_her, [c.cells for c in codec.columns])
        return out | {"likelihood": out["likelihood"] + self._domains(transcript) + self._public(transcript, codec)}

    def _public(self, transcript: MarginalTranscript, codec: Codec) -> float:
        """Beyond doubt, if a table that should count public rows counts those of one training side alone."""
        cells = [c.cells for c in codec.columns]
        codes = [codec.encode(train.records.frame) for train in self.trains]
        for m, public in zip(transcript.measurements, transcript.public, strict=True):
            if public is not None:
                before, after = (np.array_equal(exact(c, cells, m), public) for c in codes)
                if before != after:
                    return math.inf if after else -math.inf
        return 0.0

    def _domains(self, transcript: MarginalTranscript) -> float:
        """The logarithm of the likelihood ratio of the domain stage's tables."""
        ratio = 0.0
        one, other = (domain_counts(self.recipe, transcript, train.records) for train in self.trains)
        for m, (names, before), (more, after) in zip(transcript.domains, one, other, strict=True):
            if m.stage == VOTES:
                delta = self.hold.prices.delta_open / len(transcript.learned.values)
                bar = threshold_of(m.sigma, delta=delta, votes=m.contribution)
                values = transcript.learned.values[list(self.recipe.schema.modelled)[m.clique[0]]]
                told = dict(zip(values, m.counts.tolist(), strict=True))
                one_held, other_held = (
                    dict(zip(n, x.tolist(), strict=True)) for n, x in ((names, before), (more, after))
                )
                ratio += sum(
                    _vote(told.get(n), one_held.get(n), other_held.get(n), m.sigma, bar) for n in {*names, *more}
                )
            else:
                d = after - before
                ratio += float(((m.counts - before) * d).sum() - 0.5 * (d * d).sum()) / m.sigma**2
        return ratio


def _vote(told: int | None, before: int | None, after: int | None, sigma: float, bar: int) -> float:
    """Of one category: its noisy count, or that it was not released. What nobody holds cannot be released."""
    if told is not None and (before is None or after is None):
        return math.inf if before is None else -math.inf
    if told is not None and before is not None and after is not None:
        d = after - before
        return ((told - before) * d - 0.5 * d * d) / sigma**2
    hidden = [0.0 if x is None else float(log_ndtr((bar - 0.5 - x) / sigma)) for x in (before, after)]
    return hidden[1] - hidden[0]


def domain_counts(
    recipe: Marginals, transcript: MarginalTranscript, records: Records
) -> Iterator[tuple[list[str], Ints]]:
    """For each table of the domain stage what it was before its noise; of votes with the names, the hidden ones too.

    Which levels of a tree were asked for follows from the noisy ones before: the tree is grown again from those.
    """
    schema, left, frame = recipe.schema, iter(transcript.domains), records.frame
    for ask in lay_out_domains(schema, mu=1.0, contribution=recipe.contribution):
        if ask.stage == LEVEL:
            column = cast("Ranged", coded_column(ask.column, schema.modelled[ask.column]))
            yield from _levels(column, *positions(column, frame[ask.column]), left)
        elif ask.stage == VOTES:
            next(left)
            rest = cast("Categorical", schema.modelled[ask.column]).rest
            yield count_votes(frame[ask.column], records.subjects, rest=rest)
        else:
            next(left)
            of = learned_maps(schema)[ask.column].left
            one = coded_column(of, schema.columns[of], transcript.learned)
            other = coded_column(ask.column, schema.columns[ask.column])
            yield [], count_beside(frame, cast("Listed", one), cast("Listed", other))


def _levels(
    column: Ranged, position: Floats, missing: Mask, told: Iterator[Measurement]
) -> Iterator[tuple[list[str], Ints]]:
    """The exact counts of each level that one tree asked for."""
    out: list[Ints] = []

    def measure(level: Level) -> tuple[Ints, float]:
        m = next(told)
        out.append(level.count(position, missing))
        assert out[-1].shape == m.counts.shape
        return m.counts, m.variance

    learn_edges(column, measure)
    yield from (([], counts) for counts in out)


# --- a world -------------------------------------------------------------------------------------


def table(people: int, *, edge: int) -> pd.DataFrame:
    """People of one row each: most in one ward, ``edge`` of them in another, many of them at 40 hours."""
    at = np.arange(people)
    ward = np.where(at < edge, "south", "north").astype(object)
    return pd.DataFrame(
        {
            "person": [f"p{i}" for i in at],
            "ward": ward,
            "site": np.where(ward == "south", "S", "N"),
            "hours": np.where(at % 3 > 0, 40.0, 20.0),
            "ill": at % 5 == 0,
            "sort": np.where(at % 2 > 0, "u", "v"),
        }
    )


def whole(folder: Path, *, mu: float, edge: int = 12) -> Whole:
    """Both sides of a fit of about this μ, under a ledger of its own in ``folder``.

    Args:
        edge: how many others are in the subject's ward.
    """
    schema = parse_schema(SCHEMA)
    public = read_public(table(500, edge=200).drop(columns="person").assign(person="x"), schema)
    budget = Budget(epsilon_of(mu, delta=1e-6), 1e-6)
    workload = Workload(up_to=3, queries=(Query({"sort": "v", "ill": True}),))
    recipe = Marginals(
        schema,
        budget,
        target="ill",
        workload=workload,
        steps=1,
        components=1,
        public=PublicHelp.of(public, note="made"),
    )
    people = table(PEOPLE, edge=edge)
    hers = pd.DataFrame([("she", "south", "S", 40.0, True, "w")] * K, columns=list(people.columns))
    text = policy_text(
        source=schema.source, subjects=PEOPLE, unit="person", rows=K, epsilon=budget.epsilon, delta=budget.delta
    )
    (folder / "policy.yaml").write_text(text.replace("{min rows: 100}", "{min rows: 100, public help: allowed}"))
    policy = ps.load_policy(folder / "policy.yaml")
    ledger = ps.open_ledger(f"sqlite:///{folder}/ledger.db", policy, actor="bench@bench.example")
    hold = ledger.reserve(recipe, purpose="bench", recipient="bench", consent="none")
    one, other = (
        Split.benchmark(
            ps.filter_consent(ps.read_table(frame, schema), policy, purpose="bench", recipient="bench"), ledger
        ).train
        for frame in (people, pd.concat([people, hers], ignore_index=True))
    )
    return Whole(recipe, Reopened.of(hold), (one, other), public)
