"""Keys, trust and signed envelopes. The only room that imports cryptography and securesystemslib."""

from privsynth.signing.envelope import MAX_ENVELOPE, Opened, parse_canonical, sign_envelope, verify_envelope
from privsynth.signing.files import shaped
from privsynth.signing.keys import SigningKey, load_key, new_key
from privsynth.signing.note import check_signature, note_key_id, open_note, sign_note
from privsynth.signing.trust import Trust, TrustedKey, load_trust, write_trust

__all__ = [
    "MAX_ENVELOPE",
    "Opened",
    "SigningKey",
    "Trust",
    "TrustedKey",
    "check_signature",
    "load_key",
    "load_trust",
    "new_key",
    "note_key_id",
    "open_note",
    "parse_canonical",
    "shaped",
    "sign_envelope",
    "sign_note",
    "verify_envelope",
    "write_trust",
]
