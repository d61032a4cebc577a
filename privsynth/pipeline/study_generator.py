"""The generators of a study file: what each may say, and the recipe that comes of it. Reference: docs/study.md.

A new kind is one more spec and its name in ``GeneratorSpec``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic

from privsynth.data.codec import Between, Codec
from privsynth.data.schema import Schema
from privsynth.documents import Document, Strict, fault
from privsynth.errors import ConditionError, SchemaError, StudyError
from privsynth.generators.images.statistics import ImageStatistics
from privsynth.generators.marginals.public import PublicHelp, PublicRows
from privsynth.generators.marginals.recipe import Marginals
from privsynth.generators.marginals.workload import (
    QUERY_WEIGHT,
    TARGET_WEIGHT,
    WIDEST,
    Query,
    Workload,
    check_columns,
    check_weight,
)
from privsynth.privacy.budget import Budget

if TYPE_CHECKING:
    from privsynth.generators.autoregressive import Autoregressive
    from privsynth.generators.images.diffusion import ImageDiffusion

Place = tuple[str | int, ...]

GENERATOR_MENDS = {
    "components": "a whole number from 1 to 10,000, or leave it out",
    "aligned": "`aligned: false`, or leave it out",
    "by": "columns with a public list of values, for example `by: [sex, age]`",
    "batch": "a whole number of subjects, or leave it out",
    "channels": "a multiple of 8 from 8 to 512, or leave it out",
    "copies": "a whole number from 1 to 64, or leave it out",
    "hidden": "a whole number from 1 to 4,096, or leave it out",
    "kind": "`marginals` or `autoregressive` for tables; `image-statistics` or `image-diffusion` for pictures",
    "network": "unet or latent",
    "warm up": "a whole number from 0 to 1,000,000, or leave it out",
    "note": "a line that says where the public rows come from and why they are public",
    "public": "for example `public: {file: census.parquet, note: census sample of 2021, open data}`",
    "side": "a whole number from 4 to 24, or leave it out",
    "queries": "for example `queries: [{where: {sex: F, age: {from: 65}}, weight: 10}]`",
    "rounds": "fixed or adaptive",
    "steps": "a whole number from 1 to 100,000, or leave it out",
    "device": "cpu or cuda",
    "target weight": "0, or a number from 0.001 to 1,000,000; 3 where it is left out",
    "up to": "1, 2 or 3: all tables of so many columns",
    "weight": "0, or a number from 0.001 to 1,000,000",
    "weights": "for example `weights: [{columns: [age, income], weight: 5}]`, two or three columns each",
    "workload": "for example `workload: {up to: 3, weights: [{columns: [age, income], weight: 5}]}`",
}


class PublicSpec(Strict):
    """``{file: census.parquet, note: the 2021 census sample, open data}``."""

    file: str
    note: Annotated[str, pydantic.Field(min_length=1, max_length=500, pattern=r"^\S[^\n]*$")]


def _weight(value: float) -> float:
    try:
        return check_weight(value, where="")
    except SchemaError as wrong:
        raise fault(wrong.what, mend=wrong.mend) from None


def _columns(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return check_columns(value, where="")
    except SchemaError:
        raise fault(f"[{', '.join(value)}] is no pair or triple of different columns") from None


def _few(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if not 1 <= len(value) <= WIDEST:
        raise fault(f"a query names one to {WIDEST} columns, not {len(value)}")
    return value


def _once(value: tuple[WeightSpec, ...]) -> tuple[WeightSpec, ...]:
    seen: set[frozenset[str]] = set()
    for i, entry in enumerate(value):
        if frozenset(entry.columns) in seen:
            raise fault(f"[{', '.join(entry.columns)}] has a weight already", i, mend="name it once")
        seen.add(frozenset(entry.columns))
    return value


Weight = Annotated[float, pydantic.AfterValidator(_weight)]


class WeightSpec(Strict):
    """``{columns: [age, income], weight: 5}``: a pair or a triple."""

    columns: Annotated[tuple[str, ...], pydantic.AfterValidator(_columns)]
    weight: Weight


class QuerySpec(Strict):
    """``{where: {sex: F, age: {from: 65}}, weight: 10}``: one count; ``where`` as of the sample."""

    where: Annotated[Mapping[str, Any], pydantic.AfterValidator(_few)]
    weight: Weight = QUERY_WEIGHT


class WorkloadSpec(Strict):
    """``{up to: 3, target weight: 3, weights: [...], queries: [...]}``: what the fit is to get right."""

    up_to: Annotated[int, pydantic.Field(ge=1, le=3)] = 2
    target_weight: Weight = TARGET_WEIGHT
    weights: Annotated[tuple[WeightSpec, ...], pydantic.AfterValidator(_once)] = ()
    queries: tuple[QuerySpec, ...] = ()

    def workload(self, schema: Schema, document: Document) -> Workload:
        """What it asks, each part checked against the schema at its own line.

        Raises:
            StudyError: a range that is not written as one.
            SchemaError: a weight of a column that is not learned; a query on one whose cells are learned; too many.
            ConditionError: a query on a column that is not learned, outside its public domain, or that cuts a cell.
        """
        at: Place = ("generator", "workload")
        weights = tuple((entry.columns, entry.weight) for entry in self.weights)
        for i, entry in enumerate(weights):
            with _told(document, *at, "weights", i):
                Workload(weights=(entry,)).check(schema)
        codec = Codec(schema)
        queries = []
        for i, query in enumerate(self.queries):
            place = (*at, "queries", i, "where")
            where = read_condition(query.where, place, document, lambda part: Query(part).check(codec))
            queries.append(Query(where, query.weight))
        with _told(document, *at, "queries"):
            return Workload(self.up_to, weights, self.target_weight, tuple(queries))


class MarginalsSpec(Strict):
    """``{kind: marginals, epsilon: 1.0, delta: 1e-9, target: readmitted}``."""

    guides: ClassVar[bool] = False
    kind: Literal["marginals"] = "marginals"
    epsilon: float
    delta: float
    target: str | None = None
    components: int | None = None
    steps: int = 300
    device: Literal["cpu", "cuda"] = "cpu"
    workload: WorkloadSpec = WorkloadSpec()
    public: PublicSpec | None = None
    rounds: Literal["fixed", "adaptive"] = "fixed"

    def recipe(self, schema: Schema, document: Document, public: PublicRows | None = None) -> Marginals:
        """The recipe it describes; ``public`` are the rows of its public table."""
        return Marginals(
            schema,
            Budget(self.epsilon, self.delta),
            target=self.target,
            components=self.components,
            steps=self.steps,
            device=self.device,
            workload=self.workload.workload(schema, document),
            public=PublicHelp.of(public, note=self.public.note) if public is not None and self.public else None,
            rounds=self.rounds,
        )


class Unhelped(Strict):
    """What the generators share that no public table helps.

    Attributes:
        guides: whether a network draws pictures, which guidance can push.
    """

    guides: ClassVar[bool] = False
    epsilon: float
    delta: float

    @property
    def public(self) -> None:
        """No public table helps."""
        return None


class ImageStatisticsSpec(Unhelped):
    """``{kind: image-statistics, epsilon: 1.0, delta: 1e-9, by: [sex, age]}``."""

    kind: Literal["image-statistics"] = "image-statistics"
    by: tuple[str, ...] = ()
    side: int | None = None
    aligned: bool = True

    def recipe(self, schema: Schema, document: Document, public: PublicRows | None = None) -> ImageStatistics:
        """The recipe it describes."""
        return ImageStatistics(
            schema, Budget(self.epsilon, self.delta), by=self.by, side=self.side, aligned=self.aligned
        )


class ImageDiffusionSpec(Unhelped):
    """``{kind: image-diffusion, epsilon: 10, delta: 1e-9, by: [sex], device: cuda}``."""

    guides: ClassVar[bool] = True
    kind: Literal["image-diffusion"] = "image-diffusion"
    by: tuple[str, ...] = ()
    network: Literal["unet", "latent"] = "unet"
    channels: int = 32
    batch: int | None = None
    steps: int | None = None
    copies: int = 4
    warm_up: int | None = None
    side: int | None = None
    device: Literal["cpu", "cuda"] = "cpu"

    def recipe(self, schema: Schema, document: Document, public: PublicRows | None = None) -> ImageDiffusion:
        """The recipe it describes."""
        from privsynth.generators.images.diffusion import ImageDiffusion  # needs torch

        fields = ("by", "network", "channels", "batch", "steps", "copies", "warm_up", "side", "device")
        return ImageDiffusion(
            schema, Budget(self.epsilon, self.delta), **{name: getattr(self, name) for name in fields}
        )


class AutoregressiveSpec(Unhelped):
    """``{kind: autoregressive, epsilon: 10, delta: 1e-9, target: class}``."""

    kind: Literal["autoregressive"] = "autoregressive"
    target: str | None = None
    hidden: int | None = None
    batch: int | None = None
    steps: int = 150
    device: Literal["cpu", "cuda"] = "cpu"

    def recipe(self, schema: Schema, document: Document, public: PublicRows | None = None) -> Autoregressive:
        """The recipe it describes."""
        from privsynth.generators.autoregressive import Autoregressive

        fields = ("target", "hidden", "batch", "steps", "device")
        return Autoregressive(
            schema, Budget(self.epsilon, self.delta), **{name: getattr(self, name) for name in fields}
        )


if TYPE_CHECKING:
    StudyRecipe = Marginals | ImageStatistics | ImageDiffusion | Autoregressive

GeneratorSpec = Annotated[
    MarginalsSpec | ImageStatisticsSpec | ImageDiffusionSpec | AutoregressiveSpec, pydantic.Field(discriminator="kind")
]


@contextmanager
def _told(document: Document, *place: str | int) -> Iterator[None]:
    """What the schema refuses is told at a place of the study, in its words."""
    try:
        yield
    except (SchemaError, ConditionError) as wrong:
        what = f"{' › '.join(map(str, place))}: {wrong.what}"
        mend = wrong.mend.replace("Between(low, high)", "{from: LOW, to: HIGH}")
        raise type(wrong)(what, where=document.where(*place), mend=mend) from None


def read_condition(
    where: Mapping[str, Any], at: Place, document: Document, check: Callable[[Mapping[str, Any]], object]
) -> dict[str, Any]:
    """A condition as a study writes it, ranges translated; ``check`` is asked about each of its columns alone.

    Raises:
        StudyError: a range that is not written as one.
        SchemaError, ConditionError: what ``check`` refuses, at its line.
    """
    out: dict[str, Any] = {}
    for name, wanted in where.items():
        if isinstance(wanted, Mapping):
            if not set(wanted) <= {"from", "to"} or not wanted:
                raise StudyError(
                    f"{' › '.join(map(str, (*at, name)))}: not a range",
                    where=document.where(*at, name),
                    mend="write it {from: 20, to: 40}",
                )
            wanted = Between(wanted.get("from"), wanted.get("to"))
        with _told(document, *at, name):
            check({name: wanted})
        out[name] = wanted
    return out
