"""What will be started and said, as values."""

import json
import os
import socket
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from app.plan import (
    CannotStart,
    Listen,
    Plan,
    bind,
    bound,
    command,
    http_url,
    labels,
    listening,
    media,
    processes,
    share_ports,
    successor,
    welcome,
)

PLAN = Plan(
    site=Path("/srv/site"),
    name="Demo",
    domain="demo.example",
    sip=(Listen("udp", "127.0.0.1", 5060), Listen("tcp", "::1", 5060)),
    http=Listen("tcp", "127.0.0.1", 8080),
    media_processes=2,
    media_ports=(20001, 20100),
    journal=Path("/srv/site/var/journal"),
    run=Path("/srv/site/var/run"),
    recordings=Path("/srv/site/recordings"),
    database="sqlite+aiosqlite:///x.db",
    numbers=("1001",),
    agents=("8001", "8002"),
)


def test_processes_get_their_sockets_and_paths() -> None:
    """The command lines that the supervisor's docstring promises."""
    specs = {spec.name: spec for spec in processes(PLAN, [("a", PLAN.sip[0], 7), ("b", PLAN.sip[1], 8)], ("http", 9))}
    assert list(specs) == ["control", "media0", "media1", "ledger", "web"]
    control = " ".join(specs["control"].arguments)
    assert "--sip udp:127.0.0.1:5060=7 --sip tcp:[::1]:5060=8" in control
    assert specs["control"].sockets == (("a", 7), ("b", 8))
    assert specs["media1"].media == "/srv/site/var/run/media1.sock"
    assert specs["media1"].arguments[4:6] == ("--ports", "20050-20097")
    assert specs["web"].sockets == (("http", 9),)
    assert not any("--clock" in spec.arguments for spec in specs.values())


def test_who_tells_the_time_has_the_same_clock() -> None:
    """Read back as the number that it was."""
    offset = 1_795_317_532.123456789
    clocks = {
        spec.name: [float(word) for flag, word in pairwise(spec.arguments) if flag == "--clock"]
        for spec in processes(PLAN.with_clock(offset), [], ("http", 9))
    }
    assert clocks == {"control": [offset], "media0": [], "media1": [], "ledger": [], "web": [offset]}


def test_each_kind_of_process_has_its_bound_of_memory() -> None:
    limits = {"control_mb": 4, "media_mb": 3, "ledger_mb": 2, "web_mb": 0}
    specs = processes(replace(PLAN, memory=limits), [], ("http", 9))
    assert [spec.memory >> 20 for spec in specs] == [4, 3, 3, 2, 0]
    assert successor(specs[1], "media7").memory >> 20 == 3


def test_a_successor_of_a_media_process_has_its_ports_and_a_name_of_its_own() -> None:
    one = media(PLAN, "media1", 1)
    two = successor(one, "media2")
    assert (two.name, two.media) == ("media2", "/srv/site/var/run/media2.sock")
    changed = [(a, b) for a, b in zip(one.arguments, two.arguments, strict=True) if a != b]
    assert changed == [("/srv/site/var/run/media1.sock", two.media), ("media1", "media2")]


def test_sockets_are_known_again_by_what_the_configuration_says() -> None:
    """Two listeners on any free port are two."""
    free = Listen("udp", "127.0.0.1", 0)
    assert labels([free, PLAN.sip[1], free]) == ["udp:127.0.0.1:0#0", "tcp:[::1]:5060#0", "udp:127.0.0.1:0#1"]


def test_a_child_is_started_below_the_watcher() -> None:
    """So that it ends when the supervisor does, and calls come before pages."""
    web = processes(PLAN, [], ("http", 9))[-1]
    words = command(web, 3, 4, "/run", "/log")
    assert (words[1:3], words[4]) == (["-m", "app.child"], "app.web")
    life = json.loads(words[3])
    assert (life["alive"], life["beats"], life["nice"], life["sockets"]) == (3, 4, 10, {"http": 9})


@pytest.mark.parametrize(
    ("ports", "count", "expected"),
    [
        ((20000, 20099), 1, [(20000, 20099)]),
        ((20000, 20099), 3, [(20000, 20031), (20032, 20063), (20064, 20095)]),
        ((20001, 20012), 2, [(20002, 20005), (20006, 20009)]),
    ],
)
def test_ports_are_shared_in_even_pairs(ports: tuple[int, int], count: int, expected: list[tuple[int, int]]) -> None:
    """No share crosses the range, overlaps another or begins odd."""
    assert share_ports(ports, count) == expected


def test_too_few_ports_is_one_sentence() -> None:
    with pytest.raises(CannotStart, match="media ports 20000-20005 are too few for 2 media processes"):
        share_ports((20000, 20005), 2)


def test_bind_takes_a_free_port_and_reports_it() -> None:
    """Port 0 becomes the kernel's choice, for UDP and TCP, in IPv4 and IPv6."""
    for listen in (Listen("udp", "127.0.0.1", 0), Listen("tcp", "127.0.0.1", 0), Listen("udp", "::1", 0)):
        with bind(listen) as sock:
            assert bound(sock, listen).port == sock.getsockname()[1] != 0
            assert not sock.getblocking()


def test_a_port_in_use_is_named() -> None:
    """Two servers on one address: the second says which address, and why not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        listen = Listen("udp", "127.0.0.1", other.getsockname()[1])
        with pytest.raises(CannotStart, match=f"cannot listen on {listen}: Address already in use"):
            bind(listen)


def test_welcome_says_what_a_newcomer_needs() -> None:
    """Where SIP and HTTP listen, what to dial, whose phones, how to register."""
    text = welcome(PLAN)
    for part in (
        "udp:127.0.0.1:5060, tcp:[::1]:5060",
        "http://127.0.0.1:8080",
        "sip:1001@127.0.0.1:5060",
        "8001, 8002",
        "domain demo.example, server 127.0.0.1, port 5060",
        "*11",
        "Ctrl-C",
    ):
        assert part in text


def test_listening_is_for_programs() -> None:
    assert json.loads(listening(PLAN)) == {
        "sip": ["udp:127.0.0.1:5060", "tcp:[::1]:5060"],
        "http": "http://127.0.0.1:8080",
    }
    assert http_url(replace(PLAN, http=Listen("tcp", "::", 80))) == "http://[::1]:80"


def test_runtime_folders_are_the_owners_alone(tmp_path: Path) -> None:
    """Callers' numbers are in the journal, and the control socket commands agents."""
    var = tmp_path / "var"
    plan = replace(PLAN, site=tmp_path, journal=var / "journal", run=var / "run", recordings=tmp_path / "recordings")
    before = os.umask(0)
    try:
        plan.make_folders()
    finally:
        os.umask(before)
    assert {f.name: f.stat().st_mode & 0o777 for f in var.iterdir()} == {"journal": 0o700, "run": 0o700, "log": 0o700}


def test_a_site_too_deep_for_sockets_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    plan = replace(PLAN, site=deep, journal=deep / "journal", run=deep / "run", recordings=deep / "recordings")
    with pytest.raises(CannotStart, match="too long for UNIX sockets"):
        plan.make_folders()
