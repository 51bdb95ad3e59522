"""What a caller says about himself stays text: in file names, in log lines, in SQL, on the status page."""

import contextlib
import json
import sqlite3
import time
import urllib.request
from pathlib import Path

import pytest

from bench import wire
from events.types import CallArrived, CallEnded, RecordingStarted
from tests.attack.conftest import QUEUE
from tests.support.attacker import DOMAIN, Attacker, attacker
from tests.support.site import Site

HOSTILE = {
    "path": "../../../../tmp/callwright-was-here",
    "sql": "x'); DROP TABLE calls; --",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "terminal": "name\\\x1b[2J\\\x1b]0;owned\\\x07",
    "format": "{0} {at} %s %n ${jndi:ldap://x} `id` $(id)",
    "bidi": "\u202e\u2066evil\u2069",
    "utf8": "名字 \U0001f4a3",
    "long": "A" * 3000,
}
"""Display names; a backslash before a control character makes it a quoted pair, which the grammar allows."""


def call(it: Attacker, name: str) -> None:
    """Into the queue, and away again after the flow has run."""
    quoted = name.replace('"', '\\"')
    invite = it.request("INVITE", f"sip:{QUEUE}@{DOMAIN}", body=wire.sdp(it.host, 4000))
    sender = next(line for line in invite.split(b"\r\n") if line.startswith(b"From:"))
    hostile = f'From: "{quoted}" <sip:%2e%2e%2f%3cb%3e%27@evil.example>;tag=1'.encode()
    it.send(invite.replace(sender, hostile))
    final = next(message for message in it.drain(1.0) if message.status >= 200)
    assert final.status == 200
    for method, cseq in (("ACK", 1), ("BYE", 2)):
        via = ("Via", f"SIP/2.0/UDP {it.host}:{it.port};branch=z9hG4bK{method}{final.call_id};rport")
        same = [("From", final.get("from")), ("To", final.get("to")), ("Call-ID", final.call_id)]
        target = wire.address(final.get("contact"))
        if method == "BYE":
            time.sleep(0.3)
        it.send(wire.request(method, target, [via, ("Max-Forwards", "70"), *same, ("CSeq", f"{cseq} {method}")]))


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_name_is_kept_as_text(hotline: Site, kind: str) -> None:
    before = hotline.last()
    with attacker(hotline.udp, "127.0.0.1") as it:
        call(it, HOSTILE[kind])
        ended = hotline.wait(CallEnded, after=before)
    arrived = hotline.wait(CallArrived, after=before)
    assert arrived.caller_name
    assert len(arrived.caller_name) <= 64
    assert arrived.caller_name.isprintable() or kind == "bidi"
    assert_lines_are_json(hotline)
    assert_tables_are_whole(hotline, str(ended.call), arrived.caller_name)
    assert_page_is_escaped(hotline, str(ended.call))
    for record in hotline.events(before):
        if isinstance(record.event, RecordingStarted):
            assert ".." not in record.event.path
    assert not Path("/tmp/callwright-was-here").exists()


def assert_lines_are_json(hotline: Site) -> None:
    """Every line of the journal is one object, or a key and what is kept under it (`~call/… {…}`), and no line of the
    log holds anything that a terminal obeys."""
    for segment in hotline.journal.glob("*.jsonl"):
        for line in segment.read_bytes().splitlines():
            key, _, kept = line.partition(b" ") if line.startswith(b"~") else (b"", b"", line)
            assert key.isascii()
            json.loads(kept or b"null")
    for printed in hotline.output:
        assert "\x1b" not in printed
        assert "\x07" not in printed


def assert_tables_are_whole(hotline: Site, call_id: str, name: str) -> None:
    until = time.monotonic() + 10.0
    while time.monotonic() < until:
        database = sqlite3.connect(f"file:{hotline.folder}/var/callwright.db?mode=ro", uri=True)
        with contextlib.closing(database):
            rows = database.execute("SELECT caller_name FROM calls WHERE call = ?", [call_id]).fetchall()
        if rows:
            assert rows == [(name,)]
            return
        time.sleep(0.1)
    raise AssertionError("the call did not reach the tables")


def assert_page_is_escaped(hotline: Site, call_id: str) -> None:
    for path in ("/", "/api/calls", f"/api/calls/{call_id}", "/metrics"):
        request = urllib.request.Request(hotline.http + path, headers={"Authorization": "Bearer test"})
        with urllib.request.urlopen(request, timeout=5) as response:
            text, kind = response.read().decode(), response.headers.get_content_type()
        if kind == "text/html":
            assert "<script>alert" not in text
            assert "onerror=alert" not in text.replace("&lt;img src=x onerror=alert", "")
        elif kind == "application/json":
            json.loads(text)
        else:
            assert "alert(1)" not in text
