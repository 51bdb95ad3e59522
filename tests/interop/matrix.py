"""What is tried with whom: the one list that the tests (test_matrix.py) and docs/interop.md are made from.

A case is a peer and an ability. Where there is none, `REASONS` says why. `make test` tries CHOSEN, `make interop` all.
"""

import os
from typing import Final, NamedTuple

BOTH: Final = "SRTP over TLS"
ABILITIES: Final = ("register", "call", "keys", "hold", "blind transfer", "attended transfer", "TLS", "SRTP", BOTH)


class Peer(NamedTuple):
    name: str
    """As people call it."""
    source: str
    """Where it comes from, with its version."""
    role: str


PEERS: Final = {
    "sipp": Peer("SIPp", "Debian sip-tester 3.6", "caller and agent"),
    "baresip": Peer("baresip", "PyPI baresip-python 0.5.2a3", "caller and agent"),
    "pjsua": Peer("pjsua2", "PyPI pjsua2-python 2.15.1", "caller and agent"),
    "linphone": Peer("linphone", "Debian linphone-cli 5.1", "caller and agent"),
    "pyvoip": Peer("pyVoIP", "PyPI 1.6.8", "caller and agent"),
    "kamailio": Peer("Kamailio", "Debian 5.6", "proxy before us: callers and agents (Path) behind it"),
    "sippy": Peer("sippy", "PyPI 2.5", "B2BUA before us: callers behind it"),
}
PHONES: Final = ("sipp", "baresip", "pjsua", "linphone", "pyvoip")
MIDDLES: Final = ("kamailio", "sippy")

REASONS: Final = {
    ("sipp", "attended transfer"): "its scenarios are of one dialog",
    ("sipp", "TLS"): "Debian builds it without",
    ("sipp", "SRTP"): "its RTP is the tests' own, which has none",
    ("sipp", BOTH): "Debian builds it without",
    ("pyvoip", "hold"): "has none",
    ("pyvoip", "blind transfer"): "has none",
    ("pyvoip", "attended transfer"): "has none",
    ("pyvoip", "TLS"): "has none",
    ("pyvoip", "SRTP"): "has none",
    ("pyvoip", BOTH): "has none",
    ("sippy", "TLS"): "has UDP and WebSocket only",
    ("sippy", BOTH): "has UDP and WebSocket only",
}


class Case(NamedTuple):
    peer: str
    ability: str

    def __str__(self) -> str:
        return f"{self.peer}-{self.ability.replace(' ', '-')}"


CASES: Final = tuple(Case(peer, ability) for peer in PEERS for ability in ABILITIES if (peer, ability) not in REASONS)

FULL: Final = os.environ.get("CALLWRIGHT_INTEROP") == "full"
ELSEWHERE: Final = ("sipp", "baresip", "pjsua", "pyvoip")
"""Tried in test_calls.py, test_phones.py, test_srtp.py and test_transfers.py too."""


def _chosen(case: Case) -> bool:
    """`make test` has five minutes for all foreign peers."""
    if case.peer == "sippy":
        return case.ability in ("call", "hold")
    if case.peer == "kamailio" and "transfer" in case.ability:
        return False
    if case.ability == "TLS":
        return False  # with SRTP over it, all of it is tried
    return case.peer not in ELSEWHERE or case.ability == BOTH


CHOSEN: Final = tuple(case for case in CASES if FULL or _chosen(case))
