"""Keys, trust, signed envelopes and age files. The only room that imports cryptography, securesystemslib and pyrage."""

from privsynth.signing.age import AGE_KEY, Identity, check_age, check_age_key, load_identity, new_identity
from privsynth.signing.cosigner import COSIGNER_LINE, Cosigned, Cosigner, cosign
from privsynth.signing.envelope import (
    MAX_ENVELOPE,
    Opened,
    add_signature,
    parse_canonical,
    sign_envelope,
    verify_envelope,
)
from privsynth.signing.files import shaped
from privsynth.signing.keys import SigningKey, load_key, new_key
from privsynth.signing.note import check_signature, note_key_id, open_note, sign_note
from privsynth.signing.people import person_key, same_person
from privsynth.signing.personal import MOST_STATEMENTS, Heard, Personal, hear, keep, say
from privsynth.signing.trust import (
    KEY_LINE,
    MAX_PEOPLE,
    WITNESS_ROLE,
    Trust,
    TrustedKey,
    load_entry,
    load_trust,
    merged_trust,
    write_trust,
)

__all__ = [
    "AGE_KEY",
    "COSIGNER_LINE",
    "KEY_LINE",
    "MAX_ENVELOPE",
    "MAX_PEOPLE",
    "MOST_STATEMENTS",
    "WITNESS_ROLE",
    "Cosigned",
    "Cosigner",
    "Heard",
    "Identity",
    "Opened",
    "Personal",
    "SigningKey",
    "Trust",
    "TrustedKey",
    "add_signature",
    "check_age",
    "check_age_key",
    "check_signature",
    "cosign",
    "hear",
    "keep",
    "load_entry",
    "load_identity",
    "load_key",
    "load_trust",
    "merged_trust",
    "new_identity",
    "new_key",
    "note_key_id",
    "open_note",
    "parse_canonical",
    "person_key",
    "same_person",
    "say",
    "shaped",
    "sign_envelope",
    "sign_note",
    "verify_envelope",
    "write_trust",
]
