"""`callwright sip trace` and `callwright call` over a running hotline, with foreign phones on both sides."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from events.types import CallArrived, CallEnded
from tests.interop.hotline import agent, caller, choose, take_up, talk
from tests.support.peers.remote import ROOT
from tests.support.site import Site

pytestmark = pytest.mark.interop


def command(site: Site, *words: str) -> str:
    """What `callwright …` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "app", *words, "--site", str(site.folder)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_call_is_seen_from_invite_to_bye_on_both_sides(site: Site, tmp_path: Path) -> None:
    before = site.last()
    with agent(site, "baresip", tmp_path) as two, caller(site, "pjsua", tmp_path) as one:
        choose(one)
        take_up(two)
        talk(7.0)  # each side sends an RTCP report or two
        call = site.wait(CallArrived, after=before).call
        middle = command(site, "sip", "trace", "--call", call)
        assert "BYE" not in middle
        one.do("hangup")
        site.wait(CallEnded, after=before, call=call)
        ladder = command(site, "sip", "trace", "--call", call)
        whole = command(site, "sip", "trace", "--number", two.options.user, "--full")
        story = command(site, "call", call)
    assert ladder.startswith(middle)
    left, right = "─ INVITE 1001 ", f"─ INVITE {two.options.user} "
    assert ladder.index(left) < ladder.index(right) < ladder.index("─ BYE")
    assert "200 OK (INVITE)" in ladder
    assert "SDP 127.0.0.1:" in ladder
    assert f'username="{two.options.user}"' in whole
    assert "response=[redacted]" in whole
    assert two.options.password not in whole
    assert story.count(", MOS 4.") >= 2
    assert "round trip " in story
