"""The sentences in which a policy is told to the person who signs it: one for each leaf of the form.

``{v}`` is the leaf's value, ``{n}`` the owner's name for the thing that holds it (a source, a purpose ...), ``{share}``
the value in percent, ``{rest}`` what is left of 100. A leaf of few words has a sentence for each word.
"""

from __future__ import annotations

from collections.abc import Mapping

from privsynth.policy.leaves import NAMES

ANY = "*"
Path = tuple[str, ...]
Told = str | Mapping[str, str]

_OVER = {
    "population": "Everything ever released about one population, to all recipients together,",
    "recipient": "Everything ever released to one recipient",
}


def _membership(at: Path, what: str) -> Mapping[Path, Told]:
    """Of a rule of the gate that asks whether training subjects show."""
    return {
        (
            *at,
            "membership",
            "attack",
        ): f"An attack is run on real {what}: do they show, by their nearest synthetic {{v}}, "
        "that they were used for the fit?",
        (*at, "membership", "cut"): "In this attack a real one counts as a hit if it is as close as the closest {rest} "
        "of fresh synthetic ones are.",
        (*at, "membership", "advantage", "upper bound max"): "The attack may be better than guessing by at most {v}; "
        "what is compared is its upper 95% bound, noise included.",
    }


def _predicted(at: Path, what: str) -> Mapping[Path, Told]:
    """Of a rule of the gate that predicts a column."""
    return {
        (*at, "target"): f"From synthetic {what} the column {{v}} is learned; of real ones it is then guessed.",
        (*at, "accuracy", "at least"): f"Of the guesses on {what}, at least {{share}} must be right.",
        (*at, "balanced accuracy", "at least"): f"Of the guesses on {what}, at least {{share}} must be right on "
        "average over the values of the column.",
        (*at, "by"): f"The groups that must be served alike by synthetic {what}: {{v}}.",
        (*at, "gap", "max"): "The share of right guesses may differ between two groups by at most {v}.",
    }


SENTENCES: Mapping[Path, Told] = {
    ("privsynth-policy",): "It is written in form {v} of privsynth's policies.",
    ("id",): "It is called {v}; a ledger belongs to one such name and refuses another.",
    ("version",): "It is the owner's version {v}.",
    ("owner",): "{v} answers for it.",
    ("base",): {"true": "Other policies extend it; nothing is asked of it itself.", "false": "It is asked itself."},
    ("extends",): "It extends another policy, and may only be tighter: {v}.",
    ("valid", "from"): "Nothing is granted before {v}.",
    ("valid", "until"): "Nothing is granted after {v}.",
    ("sources", NAMES): "Data may come from {v}; no other source exists.",
    ("sources", ANY, "population"): "{n} holds the people of {v}; sources that share people share one budget.",
    ("sources", ANY, "subjects"): "{n} holds {v} people, a public number; every limit on size reads it.",
    ("sources", ANY, "holdout"): "Of the people in {n}, {share} are never used for a fit.",
    ("sources", ANY, "unit"): "What is protected in {n} is a whole {v}: all rows of one together.",
    ("sources", ANY, "neighbours"): {"add-or-remove": "What is hidden in {n} is whether one of these is there at all."},
    ("sources", ANY, "contribution", "max rows per subject"): "At most {v} rows of one of these in {n} enter a fit.",
    ("sources", ANY, "categories"): "{n} holds special categories, GDPR Art. 9(1): {v}. A purpose needs a legal basis "
    "that lifts them.",
    ("sources", ANY, "duo"): "{n} may be used under these conditions of the Data Use Ontology only: {v}.",
    ("sources", ANY, "minors", "column"): "In {n}, minors are left out of everything, and whoever the column {v} says "
    "nothing readable of.",
    ("sources", ANY, "minors", "below"): "In {n}, whoever is below {v} in any row is a minor.",
    ("sources", ANY, "minors", "values"): "In {n}, whoever has one of {v} in any row is a minor.",
    ("purposes", NAMES): "Data may be used for {v}, and for nothing else.",
    ("purposes", ANY, "legal basis"): "The legal basis claimed for {n} is {v}; whether it holds is not judged here.",
    ("purposes", ANY, "duo"): "In the Data Use Ontology, {n} is {v}.",
    ("purposes", ANY, "biometric"): {
        "true": "{n} is biometric: it is for telling who somebody is, or which group a face belongs to.",
        "false": "{n} is not biometric.",
    },
    ("purposes", ANY, "fhir"): "For {n}, a FHIR record must allow {v}.",
    ("recipients", NAMES): "Releases may go to {v}, and to nobody else.",
    ("recipients", ANY, "purposes"): "{n} may have releases for {v}.",
    ("recipients", ANY, "region"): "{n} is in {v}.",
    ("recipients", ANY, "key"): "What leaves for {n} is encrypted to its key {v}; nothing leaves for it in the clear.",
    ("regions",): "Releases go only to recipients in {v}; one whose region is not stated has none.",
    ("recipients", ANY, "fhir"): "FHIR records name {n} as {v}.",
    ("consent", "default"): {"deny": "Whose agreement is not known is left out: no record, an unreadable record or a "
                             "conflict is a no."},
    ("consent", "by"): {
        "register": "Agreement is known by a register of grants and withdrawals, read again at every fit.",
        "columns": "Agreement is known by columns of the data themselves.",
        "fhir": "Agreement is known by FHIR Consent records.",
        "iso-27560": "Agreement is known by consent records after ISO/IEC TS 27560.",
        "not-required": "Nobody is asked to agree.",
    },
    ("consent", "because"): "The owner's reason for asking nobody: {v}.",
    ("consent", "columns", NAMES): "The purposes that have a column of agreement: {v}.",
    ("consent", "columns", ANY, "column"): "Whether somebody agrees to {n} is said by the column {v}.",
    ("consent", "columns", ANY, "granted"): "For {n}, only {v} means yes, in every row of a person.",
    ("consent", "records"): "Consent records are read in these forms only: {v}.",
    ("consent", "requires", "scope"): "A consent record must be about {v}.",
    ("consent", "requires", "status"): "A consent record must be {v}.",
    ("consent", "requires", "purpose"): "A consent record must allow these purposes: {v}.",
    ("consent", "requires", "action"): "A consent record must allow to {v}.",
    ("consent", "verified by"): "A consent record counts if it was verified by one of: {v}.",
    ("consent", "max age of export"): "Consent records were exported at most {v} before they are read.",
    ("consent", "on withdrawal"): {
        "stop-new-use": "When somebody withdraws, she is out of every later fit; what was made before stays.",
        "retire-models": "When somebody withdraws, models fitted with her are retired: nothing new is drawn from them.",
        "retire-releases": "When somebody withdraws, models fitted with her are retired and their releases recalled.",
    },
    ("privacy", "filter", "kind"): "What is spent is added up by the proved rule {v}, fixed with the ledger.",
    ("privacy", "filter", "orders"): "The orders of that rule: {v}.",
    **{("privacy", "budget", over, "over"): f"There is a budget over each {over}. It is for ever: nothing refills it."
       for over in _OVER},
    **{("privacy", "budget", over, "epsilon"): f"{what} costs at most epsilon {{v}}." for over, what in _OVER.items()},
    **{("privacy", "budget", over, "delta"): f"{what} has at most delta {{v}}." for over, what in _OVER.items()},
    **{("privacy", "pace", over, "over"): f"The budget over each {over} is spent no faster than this; it does not grow."
       for over in _OVER},
    **{("privacy", "pace", over, "per"): f"The window over each {over} is a {{v}}, counted back from each purchase."
       for over in _OVER},
    **{("privacy", "pace", over, "share"): f"In any such window at most {{v}} of the budget over one {over} is bought."
       for over in _OVER},
    ("privacy", "new data", "population"): {
        "disjoint-subjects-only": "Nobody counts in two populations: whoever one has met is left out of all others. To "
        "know her again the ledger keeps a pseudonym of each person whom it met, inside, and never drops it.",
        "as-declared": "That nobody is in two populations is declared by the owner, and checked by nobody.",
    },
    ("privacy", "per release", "max epsilon"): "One release, its fit and its gate, costs at most epsilon {v}.",
    ("privacy", "per release", "max delta"): "One release has at most delta {v}.",
    ("privacy", "per release", "delta below"): "One release's delta is in any case below {v}, by declared people.",
    ("privacy", "noise"): {"os-secure-only": "Noise comes from the system's secure source, never from a seed."},
    ("data", "min rows"): "A source must declare {v} people to fit on, and a fit must have as many rows.",
    ("data", "min subjects per group"): "Groups are compared only where each is shown to hold {v} held-out people; "
    "else nothing leaves.",
    ("data", "public help"): {
        "refused": "No table beside the data may be declared public.",
        "allowed": "A table beside the data may be declared public; nothing protects its rows.",
    },
    ("gate", "max attempts"): "For one population the gate is tried at most {v} times, ever; a try counts before its "
    "outcome is known.",
    ("gate", "budget", "share"): "Of a release's squared mu, {share} pays for what the gate asks of real rows.",
    ("gate", "schema constraints"): {
        "true": "No synthetic row may break a domain, a structural zero or an order of the schema.",
        "false": "Synthetic rows may break the rules of the schema.",
    },
    ("gate", "fidelity", "held-back marginals", "max"): "On noisy tables that the fit never saw, synthetic rows are at "
    "most {v} away (0 is the same, 1 is disjoint).",
    **_membership(("gate",), "rows"),
    **_predicted(("gate", "utility"), "rows"),
    ("gate", "utility", "positive"): "Of the column that is guessed, {v} counts as yes.",
    **_membership(("gate", "pictures"), "pictures"),
    **_predicted(("gate", "pictures", "attribute"), "pictures"),
    ("images", "biometric use"): {
        "forbidden": "Nothing may be used to tell who somebody is or which group a face belongs to; every picture and "
        "statement that leaves says so.",
        "allowed": "Pictures may be used to tell who somebody is, and which group a face belongs to.",
    },
    ("images", "mark synthetic"): "Every picture that leaves says that it is synthetic, by these marks: {v}.",
    ("release", "transcript"): {
        "withheld": "The noisy tables that a model was fitted to stay inside.",
        "published": "The noisy tables that a model was fitted to leave with each release.",
    },
    ("retention", "model"): "A model older than {v} draws no more rows and is to be destroyed.",
    ("ledger", "witness"): {
        "required": "The ledger is worked with only where a witness elsewhere remembers how long it was.",
        "optional": "The ledger may be worked with where no witness remembers how long it was.",
    },
    ("ledger", "witness key"): "Nothing is sold or begun before this witness has signed how long the ledger is: {v}.",
    ("roles", "requesters of holds"): "Budget is asked for by people with one of the roles: {v}.",
    ("roles", "readers of internal reports"): "Reports with exact figures on real data are opened by people with "
    "one of the roles: {v}; each opening is logged.",
    ("roles", "overlap"): {
        "refused": "Nobody holds roles of both kinds, and whoever has opened a report asks for no budget.",
        "marked": "One person may hold roles of both kinds; every statement after a look then says so.",
    },
    ("people", NAMES): "The people who may do anything are {v}.",
    ("people", ANY, "roles"): "{n} holds the roles: {v}.",
    ("people", ANY, "key"): "{n} approves with the key {v}, and with no other.",
    ("approval", "policy change", "people"): "Once a ledger works by this policy, another one takes its place only if "
    "{v} people approve; the owner of neither counts.",
    ("approval", "policy change", "roles"): "Whoever approves a change holds one of the roles: {v}.",
    ("approval", "policy change", "not author"): {
        "true": "Whoever brings a change into use does not count among those who approve it.",
        "false": "Whoever brings a change into use may be among those who approve it.",
    },
    ("approval", "release", "people"): "A release is good only if {v} different people have signed it.",
}  # fmt: skip

HEADINGS: Mapping[str, str] = {
    **dict.fromkeys(("privsynth-policy", "id", "version", "owner", "base", "extends", "tests"), "This policy"),
    "valid": "When",
    "sources": "Whose data",
    "purposes": "Why",
    **dict.fromkeys(("recipients", "regions"), "For whom"),
    "consent": "Who agreed",
    "privacy": "How much may be learnt, for ever",
    "data": "How much data there must be",
    "gate": "What a release must pass",
    "images": "What pictures are for, and how they are marked",
    "release": "What leaves beside the rows",
    "retention": "For how long",
    "ledger": "What is asked of the ledger",
    "roles": "Who may do what",
    "people": "Who may do what",
    "approval": "What takes more than one person",
}
