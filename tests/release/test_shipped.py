"""What a trusted but careless sender may have signed: a policy of another form, and files that no release has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from privsynth.documents import canonical, sha256
from privsynth.errors import BundleError
from privsynth.release.predicate import POLICY as SHIPPED
from privsynth.release.predicate import PRIVACY, shipped_policy
from privsynth.release.verify import verify
from tests.policy.test_recipient_asks import KEY
from tests.release.conftest import NOW, POLICY

Resign = Callable[..., Path]


def put(bundle: Path, resign: Resign, files: Mapping[str, bytes]) -> Path:
    """The bundle with these files too, listed and signed by its trusted signer."""
    for name, raw in files.items():
        (bundle / name).write_bytes(raw)
    told = {name: sha256(raw) for name, raw in files.items()}

    def change(manifest: dict[str, Any], statement: dict[str, Any]) -> None:
        entries = {entry["path"]: entry for entry in manifest["files"]}
        entries |= {name: {"path": name, "sha256": told[name], "size": len(raw)} for name, raw in files.items()}
        manifest["files"] = [entries[name] for name in sorted(entries)]
        digests = {one["name"]: one["digest"]["sha256"] for one in statement["subject"]} | told
        statement["subject"] = [{"name": name, "digest": {"sha256": digests[name]}} for name in sorted(digests)]
        statement["predicate"]["policy"] = digests[SHIPPED]

    return resign(change)


KEYS: tuple[Any, ...] = ([KEY], 5, None, "", KEY.upper(), KEY[:-1] + ("q" if KEY[-1] != "q" else "p"))
IMAGES: tuple[Any, ...] = (
    *(5, None, [], {"biometric use": "Forbidden"}, {"biometric use": None}),
    *({"mark synthetic": marks} for marks in ("c2pa", [], {"c2pa": 1}, ["C2PA"])),
)
SIGNED: tuple[Any, ...] = (2, {}, {"people": True}, {"people": "2"}, {"people": None})


def saying(section: str, *told: Any) -> list[Any]:
    """A policy with each of these in one section."""
    return [{**POLICY, section: one} for one in told]


OTHER_FORMS: tuple[Any, ...] = (
    *([1], "a policy"),
    *saying("recipients", [], {"a": [KEY]}, *({"a": {"purposes": ["b"], "key": key}} for key in KEYS)),
    *saying("images", *IMAGES),
    *saying("approval", None, *({"release": rule} for rule in SIGNED)),
    *saying("release", "published", {"transcript": "Withheld"}),
)


@pytest.mark.parametrize("policy", OTHER_FORMS, ids=str)
def test_a_section_that_is_read_has_the_form_of_a_policy_s(policy: Any, bundle: Path, resign: Resign) -> None:
    """In another form its demand would be passed over."""
    with pytest.raises(BundleError) as caught:
        verify(put(bundle, resign, {SHIPPED: canonical(policy)}), now=NOW)
    assert caught.value.where.endswith(SHIPPED) and caught.value.mend and caught.value.exit_code == 4


def test_what_a_shipped_policy_may_say(bundle: Path, resign: Resign) -> None:
    for more in (
        {},
        {"recipients": {"a": {"purposes": ["b"], "key": KEY}, "c": {"purposes": ["b"], "region": "EU"}}},
        {"images": {"biometric use": "forbidden", "mark synthetic": ["iptc", "c2pa"]}, "later": [1]},
        {"approval": {"policy change": {"people": 2}}, "release": {"transcript": "withheld"}},
    ):
        assert shipped_policy(canonical({**POLICY, **more}), where="p") == {**POLICY, **more}
        assert verify(put(bundle, resign, {SHIPPED: canonical({**POLICY, **more})}), now=NOW).key is None


@pytest.mark.parametrize(
    "name", ["EXTRA.ZIP", "data/pics.png", "data/PICS.PNG", "run.sh", "readme.txt", "pictures.PNG"]
)
def test_a_file_that_no_release_has_is_refused_though_it_was_signed(name: str, bundle: Path, resign: Resign) -> None:
    """Pictures outside the archives would be checked for no mark."""
    with pytest.raises(BundleError, match="a file that no release holds") as caught:
        verify(put(bundle, resign, {name: b"x"}), now=NOW)
    assert name in caught.value.what and caught.value.mend


@pytest.mark.parametrize("name", ["data/extra.zip", "pictures.png"])
def test_archives_without_pictures_are_refused(name: str, bundle: Path, resign: Resign) -> None:
    with pytest.raises(BundleError, match="other files of pictures"):
        verify(put(bundle, resign, {name: b"x"}), now=NOW)


@pytest.mark.parametrize("raw", [b"[1]", b'"x"', b"null"])
def test_a_privacy_statement_is_an_object(raw: bytes, bundle: Path, resign: Resign) -> None:
    with pytest.raises(BundleError, match="no privacy statement"):
        verify(put(bundle, resign, {PRIVACY: raw}), now=NOW)
