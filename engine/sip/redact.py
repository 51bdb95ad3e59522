"""SIP messages for human eyes: what could be used by another person is struck out.

Works on any text, well formed or not, so that a broken message gives nothing away either. Struck out are the proofs
in Authorization and its kin (user, realm and algorithm stay: they are what one looks for), passwords in URIs, and the
keys of SRTP and other media encryption in SDP.
"""

import re
from typing import Final

STRUCK: Final = "[redacted]"

_CREDENTIALS: Final = re.compile(r"(?im)^((?:proxy-)?authorization[ \t]*:[ \t]*)(.*(?:\r?\n[ \t].*)*)")
"""One header field, continuation lines included (RFC 3261 §7.3.1)."""
_PROOFS: Final = re.compile(
    r'(?i)\b(response|rspauth|cnonce|auts)(\s*=\s*)("(?:[^"\\\r\n]|\\.|\r?\n[ \t])*+"?|[^\s,;"]++)'
)
_BEFORE_AT: Final = re.compile(r"""(?<![^\s@<>"])[^\s@<>"]++@""")
"""Begins only where a word begins: linear in whatever a peer sends."""
_USER: Final = re.compile(r"(?i)sips?:[^:]*:")
_SDP_KEYS: Final = (
    (re.compile(r"(?i)(\binline\s*:)[^\r\n]*"), r"\1" + STRUCK),
    (re.compile(r"(?im)^(k\s*=).*"), r"\1" + STRUCK),
    (re.compile(r"(?im)^(a\s*=\s*key-mgmt\s*:).*"), r"\1" + STRUCK),
)


def redact(message: bytes) -> str:
    """The message as text; bytes that are not UTF-8 become U+FFFD. Line ends become a newline alone."""
    text = message.decode("utf-8", "replace")
    text = _CREDENTIALS.sub(_credentials, text)
    text = _PROOFS.sub(rf"\1\2{STRUCK}", text)
    text = _BEFORE_AT.sub(_userinfo, text)
    for pattern, instead in _SDP_KEYS:
        text = pattern.sub(instead, text)
    return text.replace("\r\n", "\n")


def _credentials(found: re.Match[str]) -> str:
    """Digest keeps its parameters, for the proofs in them are struck out next; of other schemes only the name stays."""
    head, value = found.groups()
    scheme = value.split(None, 1)[0] if value.strip() else ""
    if scheme.lower() == "digest":
        return str(found.group())
    return f"{head}{scheme} {STRUCK}"


def _userinfo(found: re.Match[str]) -> str:
    """`sip:user:password@` (RFC 3261 §19.1.1)"""
    text = found.group()
    user = _USER.search(text)
    return f"{text[: user.end()]}{STRUCK}@" if user else text
