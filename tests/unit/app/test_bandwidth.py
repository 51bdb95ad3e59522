"""`callwright bandwidth`"""

import pytest
from typer.testing import CliRunner

from app.__main__ import app


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["bandwidth", *arguments])
    return result.exit_code, result.output


def test_traffic_becomes_lines_and_lines_bits() -> None:
    status, said = run("--erlangs", "100", "--srtp", "sha1_80", "--recording")
    assert status == 0
    assert said.splitlines() == [
        "100 erlangs need 117 lines: 0.979% of calls find all busy (Erlang B; asked 1.000%)",
        "",
        "PCMA, 20 ms: 50 packets/s of 210 octets: audio 160 + RTP 12 + SRTP tag 10 + UDP 8 + IP 20",
        "RTCP (a report every 5 s) is in all figures; Ethernet counts preamble and gap.",
        "",
        "                                                      IP      Ethernet",
        "one leg, each way                            84.2 kbit/s   99.5 kbit/s",
        "117 calls on the operator's line, each way   9.85 Mbit/s  11.64 Mbit/s",
        "117 calls at this machine, each way         19.70 Mbit/s  23.27 Mbit/s",
        "11,700 packets/s each way at this machine; a call has two legs, caller and agent.",
        "recordings: 3.74 MB/s, 13.5 GB in an hour of peak",
    ]


def test_calls_may_be_given_instead() -> None:
    status, said = run("--calls", "30", "--codec", "pcmu", "--ptime", "30", "--ipv6")
    assert status == 0
    assert said.startswith("30 calls at the same time\n")
    assert "33.3333 packets/s of 300 octets" in said


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "give --calls or --erlangs"),
        (["--calls", "1", "--erlangs", "1"], "give --calls or --erlangs"),
        (["--calls", "1", "--codec", "G729"], "no codec 'G729'; there are PCMA, PCMU"),
        (["--calls", "1", "--srtp", "zrtp"], "no SRTP suite 'zrtp'; there are none, sha1_80, sha1_32, gcm"),
        (["--calls", "1", "--ptime", "25"], "packets hold a multiple of 10 ms, not 25"),
        (["--erlangs", "5", "--blocking", "0"], "blocking is a share of calls between 0 and 1, not 0"),
    ],
)
def test_mistakes_are_said_in_words(arguments: list[str], why: str) -> None:
    assert run(*arguments) == (1, f"callwright: {why}\n")
