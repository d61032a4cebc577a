"""What a hold is bought for: the public fields of one request, the same for every retry of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import TYPE_CHECKING, Any

from privsynth.data.schema import Schema
from privsynth.documents import identity
from privsynth.errors import LedgerError, UsageError
from privsynth.policy.new_data import unknown_again
from privsynth.privacy.budget import Budget, Neighbours

if TYPE_CHECKING:
    from privsynth.policy.decide import Request
    from privsynth.policy.document import ConsentKind, Policy
    from privsynth.privacy.priced import Priced

_TEXT_LIMIT = 256
_LATER = {"selects": False, "public_help": False, "trains": False}
"""What terms had no word for before: an entry without it was written when there was none."""


@dataclass(frozen=True)
class Terms:
    """Who asks for what, with which data, for whom, at which price.

    Attributes:
        actor: who asks.
        source, purpose, recipient: names as in the policy.
        consent: how the subjects' agreement will be read.
        kind: the generator's kind.
        recipe: SHA-256 of the recipe's public fields.
        schema: SHA-256 of its schema; empty where the recipe has none.
        columns: the learned columns of the schema.
        unit, contribution, person_rows: who is protected, and how many rows she may have.
        epsilon, delta, neighbours: the whole release's price.
        selects: whether the fit releases categories of open columns, which takes a slice of delta.
        public_help: whether the recipe declares a public table, whose rows are not protected.
        trains: whether the fit trains a network by sampled steps, which takes a slice of delta.
    """

    actor: str
    source: str
    purpose: str
    recipient: str
    consent: ConsentKind
    kind: str
    recipe: str
    schema: str
    columns: tuple[str, ...]
    unit: str
    contribution: int
    person_rows: int
    epsilon: float
    delta: float
    neighbours: Neighbours = "add-or-remove"
    selects: bool = False
    public_help: bool = False
    trains: bool = False

    @property
    def budget(self) -> Budget:
        """The price as a :class:`Budget`."""
        return Budget(epsilon=self.epsilon, delta=self.delta, neighbours=self.neighbours)

    @property
    def sha256(self) -> str:
        """Identity of the request's body: two requests with one id must share it."""
        return identity(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The terms as JSON values."""
        return {**asdict(self), "columns": list(self.columns)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Terms:
        """The terms that :meth:`to_json` wrote, of this version or an earlier one; anything else is a
        :class:`LedgerError`."""
        value = {**_LATER, **value}
        if set(value) != {f.name for f in fields(cls)}:
            raise LedgerError("an entry's terms are of another version", mend="use the version that wrote the ledger")
        return cls(
            **{
                **value,
                "columns": tuple(value["columns"]),
                "epsilon": float(value["epsilon"]),
                "delta": float(value["delta"]),
            }
        )

    def request(self, *, today: date) -> Request:
        """The same as the policy sees it."""
        from privsynth.policy.decide import Request

        return Request(
            source=self.source,
            purpose=self.purpose,
            recipient=self.recipient,
            epsilon=self.epsilon,
            delta=self.delta,
            unit=self.unit,
            contribution=self.contribution,
            actor=self.actor,
            consent=self.consent,
            columns=self.columns,
            kind=self.kind,
            today=today,
            public_help=self.public_help,
        )


def terms_of(
    recipe: Priced, policy: Policy, *, purpose: str, recipient: str, actor: str, consent: ConsentKind | None = None
) -> Terms:
    """The terms of a request for ``recipe``.

    ``consent`` None means: as the policy asks; ``filter_consent`` is where it is enforced on rows.
    Where the recipe offers a schema, its identity, columns and rows per person are recorded.

    Raises:
        RequestDenied: the policy keeps populations apart, and the schema names no column of ids (PS-SRC-006).
    """
    schema = getattr(recipe, "schema", None)
    known = schema if isinstance(schema, Schema) else None
    if policy.disjoint and known is not None and known.subject.column is None:
        raise unknown_again(policy)
    described = recipe.describe()
    return Terms(
        actor=actor,
        source=one_line(recipe.source, name="source"),
        purpose=one_line(purpose, name="purpose"),
        recipient=one_line(recipient, name="recipient"),
        consent=policy.consent.kind if consent is None else consent,
        kind=one_line(recipe.kind, name="kind"),
        recipe=identity(described),
        schema="" if known is None else known.sha256,
        columns=() if known is None else tuple(known.learned),
        unit=one_line(recipe.unit or _registered_unit(policy, recipe.source), name="unit"),
        contribution=int(recipe.contribution),
        person_rows=1 if known is None else known.subject.person_rows,
        epsilon=float(recipe.budget.epsilon),
        delta=float(recipe.budget.delta),
        neighbours=recipe.budget.neighbours,
        selects=bool(recipe.selects),
        public_help=described.get("public") is not None,
        trains=bool(recipe.trains),
    )


def _registered_unit(policy: Policy, source: str) -> str:
    """The policy's word for the person behind a subject column, which a schema does not name."""
    registered = policy.sources.get(source)
    return "subject" if registered is None else registered.unit


def one_line(text: object, *, name: str) -> str:
    """``text`` if it is one line of printable text without blanks at its ends.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(text, str) or not 0 < len(text) <= _TEXT_LIMIT or not text.isprintable() or text != text.strip():
        raise UsageError(
            f"{name} must be 1 to {_TEXT_LIMIT} printable characters on one line, without blanks at its ends",
            where=name,
            mend=f"give the {name} as text",
        )
    return text
