"""What the signature covers: an in-toto Statement v1 whose predicate is ours, version 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from privsynth.data.guidance import MOST_GUIDANCE
from privsynth.documents import Strict, plain
from privsynth.errors import BundleError, ModelError
from privsynth.policy.images import Mark
from privsynth.policy.words import AgeKey, SomePeople
from privsynth.privacy.events import Receipt
from privsynth.signing import AGE_KEY, parse_canonical, shaped

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://privsynth.dev/release/v1"
STATEMENT = "statement.dsse.json"
ROLE = "release"
PARQUET, CSV = "data/table.parquet", "data/table.csv"
TABLES, LISTING = "transcript/transcript.safetensors", "transcript/transcript.json"
"""The transcript in a bundle, where the policy publishes it."""
POLICY, SCHEMA, PRIVACY = "policy.resolved.json", "schema.json", "privacy.json"
CHAIN = "c2pa.pem"
"""The certificates of whoever signed the pictures, where they carry C2PA manifests."""

_HEX = r"^[0-9a-f]{64}$"
_RECEIPT = pydantic.TypeAdapter(Receipt)

Hex = Annotated[str, pydantic.Field(pattern=_HEX)]


class _Told(Strict):
    """A section of the policy that a release ships, of which its verifier reads these keys; null is none of them."""

    model_config = pydantic.ConfigDict(extra="ignore")


class _Recipient(_Told):
    key: AgeKey = pydantic.Field(default="", validate_default=False)


class _Images(_Told):
    biometric_use: Literal["forbidden", "allowed"] = "allowed"
    mark_synthetic: Annotated[tuple[Mark, ...], pydantic.Field(min_length=1)] = ("iptc",)


class _Leaving(_Told):
    transcript: Literal["withheld", "published"]


class _SignedBy(_Told):
    people: SomePeople


class _Approval(_Told):
    release: _SignedBy = _SignedBy(people=2)


class _Shipped(_Told):
    recipients: Mapping[str, _Recipient] = {}
    images: _Images = _Images()
    release: _Leaving = _Leaving(transcript="withheld")
    approval: _Approval = _Approval()


def shipped_policy(raw: bytes, *, where: str) -> dict[str, Any]:
    """The resolved policy that a release ships, as JSON values. What is read of it has the form of a policy, so that
    nothing it demands is passed over because it is written in another way.

    Raises:
        BundleError: no policy, or a section of another form.
    """
    policy = parse_canonical(raw, where=where)
    shaped(_Shipped, policy, error=BundleError, where=where, mend="ask its sender, or upgrade privsynth")
    told: dict[str, Any] = policy
    return told


def publishes_transcript(policy: Any) -> bool:
    """Whether a resolved policy, as JSON values, has each release carry its model's transcript."""
    told = policy.get("release") if isinstance(policy, Mapping) else None
    return isinstance(told, Mapping) and told.get("transcript") == "published"


def people_needed(policy: Any) -> int | None:
    """How many distinct people must have signed a release, by a resolved policy as JSON values; None: it is silent."""
    told = policy.get("approval") if isinstance(policy, Mapping) else None
    rule = told.get("release") if isinstance(told, Mapping) else None
    people = rule.get("people") if isinstance(rule, Mapping) else None
    return people if isinstance(people, int) else None


def forbids_biometrics(policy: Any) -> bool:
    """Whether a resolved policy, as JSON values, says that biometric use is forbidden; where it is silent, no term
    of it is written into pictures."""
    told = policy.get("images") if isinstance(policy, Mapping) else None
    return isinstance(told, Mapping) and told.get("biometric use") == "forbidden"


def marks_needed(policy: Any) -> tuple[str, ...]:
    """By which marks each picture must say that it is synthetic, by a resolved policy as JSON values."""
    told = policy.get("images") if isinstance(policy, Mapping) else None
    marks = told.get("mark synthetic") if isinstance(told, Mapping) else None
    return tuple(map(str, marks)) if isinstance(marks, list) else ()


def sealed_to(policy: Any, recipient: str) -> str | None:
    """The key to which releases for ``recipient`` are sealed, by a policy as JSON values; None: it is silent."""
    told = policy.get("recipients") if isinstance(policy, Mapping) else None
    rule = told.get(recipient) if isinstance(told, Mapping) else None
    key = rule.get("key") if isinstance(rule, Mapping) else None
    return key if isinstance(key, str) else None


class Claim(Strict):
    """A rule of the gate that the release passed; ``figure`` only where it is free or paid."""

    rule: str
    name: str
    passed: Literal[True]
    limit: str
    figure: str | None
    cost: Literal["free", "paid"]
    where: str


class PictureFile(Strict):
    """The pictures of a column: ``size`` is width and height in pixels, ``pictures`` how many, ``file`` the zip."""

    column: str
    file: str
    size: tuple[pydantic.StrictInt, pydantic.StrictInt]
    mode: Literal["L", "RGB"]
    pictures: Annotated[pydantic.StrictInt, pydantic.Field(ge=0)]


class Predicate(Strict):
    """What the signers say of the files.

    ``policy`` and ``schema`` are the SHA-256 of policy.resolved.json and schema.json; ``receipt`` has
    the fields of :class:`privsynth.privacy.events.Receipt`; ``created`` is ISO 8601, UTC; ``transcript`` is the
    SHA-256 of the noisy tables, where the bundle carries them; ``pictures`` are the synthetic pictures of each column
    that holds them, where there are any; ``guidance`` is that with which they were drawn, where there was some;
    ``people`` is how many distinct people must have signed, where the policy says more than one; ``key`` is the
    recipient's, to which it leaves sealed, where the policy names one; ``c2pa`` is the SHA-256 of the certificate that
    signed each picture's C2PA manifest, where they have one.
    """

    format: Annotated[Literal[1], pydantic.Field(alias="privsynth-release")]
    created: str
    recipient: str
    rows: Annotated[pydantic.StrictInt, pydantic.Field(gt=0)]
    condition: dict[str, Any]
    balance: Annotated[dict[str, Any], pydantic.Field(default_factory=dict)]
    draw: Literal["even", "independent"] = "independent"
    guidance: Annotated[float, pydantic.Field(gt=0.0, le=MOST_GUIDANCE)] | None = None
    model: Hex
    receipt: dict[str, Any]
    claims: Annotated[tuple[Claim, ...], pydantic.Field(min_length=1)]
    policy: Hex
    schema_: Hex
    software: dict[str, str]
    transcript: Hex | None = None
    pictures: tuple[PictureFile, ...] | None = None
    people: Annotated[pydantic.StrictInt, pydantic.Field(ge=2)] | None = None
    key: Annotated[str, pydantic.Field(pattern=f"^{AGE_KEY}$")] | None = None
    c2pa: Hex | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values under the names used in files; an absent figure stays null."""
        return {**plain(self), "claims": [claim.model_dump(mode="json") for claim in self.claims]}

    def paid(self, *, where: str) -> Receipt:
        """The receipt, its types checked.

        Raises:
            BundleError: not a receipt of this version, or another recipient's.
        """
        try:
            receipt = _RECEIPT.validate_python(Receipt.from_json(self.receipt).to_json())
        except (ModelError, pydantic.ValidationError):
            raise BundleError("its receipt is not of this version", where=where, mend="upgrade privsynth") from None
        if receipt.recipient != self.recipient or receipt.noise != "os-secure":
            raise BundleError("its receipt is another recipient's, or a test's", where=where, mend="ask its sender")
        return receipt


class _Digest(Strict):
    sha256: Hex


class _Subject(Strict):
    name: str
    digest: _Digest


class SignedStatement(Strict):
    """The envelope's payload."""

    type_: Annotated[Literal["https://in-toto.io/Statement/v1"], pydantic.Field(alias="_type")]
    subject: Annotated[tuple[_Subject, ...], pydantic.Field(min_length=1)]
    predicateType: str
    predicate: Predicate
