"""sipvicious, as anybody can install it, finds nothing."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from events.types import SourceBlocked
from tests.attack.conftest import AGENTS
from tests.support.attacker import DOMAIN, attacker
from tests.support.site import Site

WITHIN = 25.0


def sipvicious(tool: str, folder: Path, host: str, *arguments: str) -> str:
    """All that one of its programs says."""
    command = [sys.executable, "-W", "ignore", "-m", f"sipvicious.{tool}", "-b", host, *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=WITHIN,
        check=False,
        text=True,
    )
    return done.stdout


@pytest.mark.parametrize("method", ["OPTIONS", "REGISTER", "INVITE"])
def test_svmap_sees_no_server(hotline: Site, tmp_path: Path, method: str) -> None:
    before, host = hotline.last(), f"127.0.0.{31 + len(method) % 5}"
    port = str(hotline.udp[1])
    said = sipvicious("svmap", tmp_path, host, "-p", port, "-m", method, "127.0.0.1")
    assert "found nothing" in said
    assert "Callwright" not in said
    assert hotline.wait(SourceBlocked, after=before, source=host).why == "scanner"


def test_svwar_finds_no_extension(hotline: Site, tmp_path: Path) -> None:
    said = sipvicious("svwar", tmp_path, "127.0.0.41", "-p", str(hotline.udp[1]), "-e", "8000-8010",
                      "-m", "REGISTER", "--force", "--maximumtime", "8", "127.0.0.1")  # fmt: skip
    assert "8001" not in said.replace("8000-8010", "")


def test_svcrack_finds_no_password(hotline: Site, tmp_path: Path) -> None:
    words = tmp_path / "words"
    words.write_text("\n".join([*(f"guess{n}" for n in range(50)), AGENTS["8001"]]))
    said = sipvicious("svcrack", tmp_path, "127.0.0.42", "-p", str(hotline.udp[1]), "-u", "8001",
                      "-d", str(words), "--maximumtime", "8", "127.0.0.1")  # fmt: skip
    assert AGENTS["8001"] not in said
    with attacker(hotline.udp, "127.0.0.43") as it:
        assert it.register("8001", AGENTS["8001"]) == [401, 200]


def test_scanning_under_another_name_is_noticed_by_what_it_does(hotline: Site) -> None:
    before = hotline.last()
    with attacker(hotline.udp, "127.0.0.44") as it:
        for n in range(12):
            it.send(it.request("OPTIONS", f"sip:{100 + n}@127.0.0.1", headers=[("User-Agent", "Yealink")]))
        assert it.drain() == []
        assert hotline.wait(SourceBlocked, after=before, source="127.0.0.44").why == "probe"
        assert it.ask(it.request("REGISTER")) is None


def test_unknown_methods_and_domains_get_silence(hotline: Site) -> None:
    with attacker(hotline.udp, "127.0.0.45") as it:
        assert it.ask(it.request("MESSAGE")) is None
        assert it.ask(it.request("INVITE", "sip:1001@elsewhere.example")) is None
        answer = it.ask(it.request("OPTIONS", f"sip:{DOMAIN}"))
        assert answer is not None
        assert answer.status == 200


def test_blocks_are_shown_and_lifted_by_command(hotline: Site) -> None:
    command = [sys.executable, "-m", "app", "defence"]
    with attacker(hotline.udp, "127.0.0.46") as it:
        it.send(it.request("OPTIONS", headers=[("User-Agent", "friendly-scanner")]))
        time.sleep(0.1)
        assert it.ask(it.request("REGISTER")) is None
        site = ["--site", str(hotline.folder)]
        shown = subprocess.run([*command, "blocked", *site], check=True, capture_output=True, text=True)
        assert "127.0.0.46  all" in shown.stdout
        subprocess.run([*command, "release", "127.0.0.46", *site], check=True)
        challenged = it.ask(it.request("REGISTER"))
        assert challenged is not None
        assert challenged.status == 401
