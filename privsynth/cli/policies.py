"""What the author of a policy runs, and CI: `policy check`, `policy test`, `policy diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privsynth.cli.screen import Answered, Screen
from privsynth.cli.words import JSON, QUIET
from privsynth.errors import PolicyError, PolicyLooser, PolicyTestFailed

if TYPE_CHECKING:
    from privsynth.policy.compare import Change
    from privsynth.policy.mutants import Loosened, Mutant

TESTS = ".test.yaml"
FILES = Annotated[list[Path], typer.Argument(metavar="FILE", help="Policies, and files of tests (*.test.yaml).")]
PATHS = Annotated[list[Path], typer.Argument(metavar="PATH", help="Files of tests, or folders that hold some.")]
BEFORE = Annotated[Path, typer.Argument(metavar="BEFORE", help="The policy as it was.")]
AFTER = Annotated[Path, typer.Argument(metavar="AFTER", help="The policy as it is to be.")]


def policy_check(files: FILES, json_: JSON = False, quiet: QUIET = False) -> None:
    """Load policies and show what they register.

    Unknown keys, a child looser than its parent and limits that can never be met end in exit code 2. A base and a
    file of tests are checked for their form.

    Example:  privsynth policy check policies/*.yaml
    """
    screen = Screen(json_, quiet)
    told = [_checked(path) for path in files]
    screen.answer("policy check", {"files": told})
    for one in told:
        match one["kind"]:
            case "tests":
                screen.say(f"{one['file']}: {one['cases']} tests of {one['policy']}")
            case "base":
                screen.say(
                    f"{one['file']}: base {one['id']} version {one['version']}, to be extended; {one['leaves']} leaves"
                )
            case _:
                screen.say(f"{one['file']}: policy {one['id']} version {one['version']} is whole")
                screen.say(f"  sources: {', '.join(one['sources'])}; gate rules: {', '.join(one['gate'])}")
                screen.say(f"  identity: {one['sha256']}")


def _checked(path: Path) -> dict[str, Any]:
    from privsynth.documents import load_yaml
    from privsynth.policy.document import load_policy
    from privsynth.policy.inherit import partial_of
    from privsynth.policy.leaves import leaves
    from privsynth.policy.trial import load_trial

    if path.name.endswith(TESTS):
        trial = load_trial(path)
        load_policy(trial.policy)
        return {"file": str(path), "kind": "tests", "policy": str(trial.policy), "cases": len(trial.cases)}
    document = load_yaml(path, error=PolicyError, kind="policy")
    if document.data.get("base") is True:
        found = {key: str(document.data.get(key, "")) for key in ("id", "version")}
        return {"file": str(path), "kind": "base", **found, "leaves": len(leaves(partial_of(document)))}
    loaded = load_policy(path)
    return {
        "file": str(path),
        "kind": "policy",
        "id": loaded.id,
        "version": loaded.version,
        "sha256": loaded.sha256,
        "sources": list(loaded.sources),
        "gate": list(loaded.gate.rules),
    }


# --- test -------------------------------------------------------------------------------------------


def policy_test(
    paths: PATHS,
    mutate: Annotated[
        bool, typer.Option("--mutate", help="Loosen each leaf by one step too: some test must turn red.")
    ] = False,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Print the cases that are lacking, ready to be put under `cases`.")
    ] = False,
    json_: JSON = False,
    quiet: QUIET = False,
) -> None:
    """Put requests to policies and hold the answers.

    The tests lie beside a policy, in NAME.test.yaml (docs/policy-tools.md). A case that gets another answer than it
    expects, and with --mutate a loosened leaf that no case sees or that `policy diff` shows by no request, end in exit
    code 1.

    Example:  privsynth policy test policies --mutate
    """
    from privsynth.policy.cases import suggestion
    from privsynth.policy.document import load_policy
    from privsynth.policy.mutants import loosen
    from privsynth.policy.trial import load_trial, run_trial

    screen = Screen(json_, quiet)
    found: list[dict[str, Any]] = []
    faults: list[str] = []
    for path in _tests(paths):
        trial = load_trial(path)
        policy = load_policy(trial.policy)
        outcomes = run_trial(trial, policy)
        failed = [(trial.where(o.case), o.case, o.words) for o in outcomes if not o.passed]
        one: dict[str, Any] = {"file": str(path), "cases": len(outcomes), "passed": len(outcomes) - len(failed)}
        one["failed"] = [{"where": where, "case": case, "what": words} for where, case, words in failed]
        screen.say(f"{path}: {one['passed']} of {one['cases']} cases pass")
        faults += [f"{where}: {case}: {words}" for where, case, words in failed]
        if mutate or suggest:
            loosened = loosen(policy, trial)
            one["mutants"] = _counted(screen, loosened)
            faults += [_unseen(policy.where(*m.leaf.place), m) for m in loosened.survivors]
            lacking = [suggestion(policy, trial, m) for m in loosened.survivors if not m.red] if suggest else []
            one["suggested"] = [line.strip() for line in lacking if line]
            for line in filter(None, lacking):
                screen.say(line)
        found.append(one)
    answer = {"files": found}
    if faults:
        raise Answered(
            PolicyTestFailed(
                f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'} in {len(found)} files of tests:\n  "
                + "\n  ".join(faults)
                + "\n ",
                mend="mend the policy or the case; `--suggest` prints the cases that are lacking",
            ),
            {"command": "policy test", **answer},
        )
    screen.answer("policy test", answer)


def _tests(paths: list[Path]) -> list[Path]:
    """The files of tests that were named, and those in the folders that were named."""
    found = []
    for path in paths:
        inside = sorted(path.glob(f"*{TESTS}")) if path.is_dir() else [path]
        if not inside:
            raise PolicyError(f"no *{TESTS} in this folder", where=str(path), mend="write one: docs/policy-tools.md")
        found += inside
    return found


def _counted(screen: Screen, loosened: Loosened) -> dict[str, Any]:
    """What became of the loosened leaves, told and as numbers."""
    mutants = loosened.mutants
    shown = [m for m in mutants if m.change is not None and m.change.witness is not None]
    own = [m for m in shown if m.change is not None and m.change.witness is not None and not m.change.witness.allowed]
    red, whole, stuck = sum(bool(m.red) for m in mutants), len(shown) - len(own), [x.name for x in loosened.stuck]
    screen.say(f"  {loosened.leaves} leaves, {len(mutants)} with a looser step; of these")
    screen.say(f"  {red} of {len(mutants)} turn a test red when they are loosened,")
    screen.say(f"  {len(shown)} of {len(mutants)} are shown by a request that flips: {whole} from denied to allowed,")
    screen.say(f"  {len(own)} by their own rule only, while another line still denies")
    for m in own:
        screen.say(f"    {m.leaf.name} {_step(m)}: still denied by {', '.join(_still(m))}")
    if stuck:
        screen.say(f"  no looser value makes a whole policy: {', '.join(stuck)}")
    return {
        "leaves": loosened.leaves,
        "loosened": len(mutants),
        "red": red,
        "shown": len(shown),
        "flip_whole": whole,
        "flip_own_rule": [{"leaf": m.leaf.name, "still": _still(m)} for m in own],
        "stuck": stuck,
    }


def _still(mutant: Mutant) -> list[str]:
    assert mutant.change is not None and mutant.change.witness is not None
    return list(dict.fromkeys(f"{v.id} at {v.where}" for v in mutant.change.witness.still))


def _unseen(where: str, mutant: Mutant) -> str:
    why = "no test turns red" if not mutant.red else "`policy diff` shows it by no request"
    return f"{where}: {mutant.leaf.name} {_step(mutant)}: {why}"


def _step(mutant: Mutant) -> str:
    """What a leaf was loosened to; of a list, by what."""
    from privsynth.policy.directions import ABSENT

    if not isinstance(mutant.value, list):
        return "left out" if mutant.value is ABSENT else f"loosened to {_value(mutant.value)}"
    more = [part for part in mutant.value if part not in mutant.leaf.value]
    less = [part for part in mutant.leaf.value if part not in mutant.value]
    return f"with {_value(more)}" if more else f"without {_value(less)}"


def _value(value: Any) -> str:
    from privsynth.policy.prose import told

    return told(value)


# --- diff -------------------------------------------------------------------------------------------


def policy_diff(before: BEFORE, after: AFTER, json_: JSON = False, quiet: QUIET = False) -> None:
    """Compare two policies, leaf by leaf.

    Each leaf that differs is tighter, looser or incomparable; for each that is not tighter, a request that BEFORE
    denied and AFTER allows, in the form of the tests. Exit code 0 if nothing loosens, 1 if something does, so that CI
    can demand approvals.

    Example:  privsynth policy diff main/healthcare.yaml policies/healthcare.yaml
    """
    from privsynth.documents import join
    from privsynth.policy.compare import compare
    from privsynth.policy.document import load_policy

    screen = Screen(json_, quiet)
    old, new = load_policy(before), load_policy(after)
    changes = compare(old, new)
    answer = {"before": old.sha256, "after": new.sha256, "changes": [_as_json(change) for change in changes]}
    screen.say(f"before: {old.sha256}\nafter:  {new.sha256}")
    for change in changes:
        screen.say(f"{change.order}: {change.leaf.name}: {_value(change.before)} → {_value(change.after)}")
        screen.say(f"  {change.where_before} → {change.where_after}")
        for line in _flips(change) if change.loosens else ():
            screen.say(f"  {line}")
    loose = [change for change in changes if change.loosens]
    if loose:
        names = join([change.leaf.name for change in loose])
        raise Answered(
            PolicyLooser(
                f"{after} is looser than {before}, or not to be compared, in {len(loose)} of {len(changes)} leaves: "
                f"{names}",
                where=loose[0].where_after,
                mend="have it approved by two people (`privsynth policy approve`) and let CI hold that: "
                f"`privsynth policy approved {after} --replaces {before} --trust trust.json`; or tighten it again",
            ),
            {"command": "policy diff", **answer},
        )
    screen.say("the same" if not changes else f"nothing loosens; {len(changes)} leaves are tighter")
    screen.answer("policy diff", answer)


def _flips(change: Change) -> list[str]:
    from privsynth.policy.cases import case_of, flow

    seen = change.witness
    if seen is None:
        return ["no single request shows it: people must judge what it means"]
    denied = ", ".join(dict.fromkeys(f"{v.where} ({v.id})" for v in seen.denied))
    still = ", ".join(dict.fromkeys(f"{v.where} ({v.id})" for v in seen.still))
    end = "allowed after" if seen.allowed else f"no longer by that rule after, though still by {still}"
    return [flow(case_of(seen.ask)), f"denied before by {denied}; {end}"]


def _as_json(change: Change) -> dict[str, Any]:
    from privsynth.policy.cases import case_of
    from privsynth.policy.leaves import written

    seen = change.witness
    shown = None
    if seen is not None:
        shown = {
            "request": case_of(seen.ask),
            "denied_before": [{"rule": v.id, "where": v.where} for v in seen.denied],
            "allowed_after": seen.allowed,
            "still_denied_by": [{"rule": v.id, "where": v.where} for v in seen.still],
        }
    return {
        "leaf": change.leaf.name,
        "order": change.order,
        "before": _jsonable(written(change.before)),
        "after": _jsonable(written(change.after)),
        "where_before": change.where_before,
        "where_after": change.where_after,
        "shown_by": shown,
    }


def _jsonable(value: Any) -> Any:
    import datetime as dt

    return value.isoformat() if isinstance(value, dt.date) else value
