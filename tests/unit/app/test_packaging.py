"""Dockerfile, compose.yaml, Makefile and .ci/run: they can't all be run here, so their structure is held by tests."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
Instructions = list[tuple[str, str]]


def stages() -> list[Instructions]:
    """The Dockerfile's instructions by stage."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: list[Instructions] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def compose() -> Any:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_the_image_has_no_compiler_and_no_root() -> None:
    """Two stages; the last one runs as its own user, says whether it is well, and takes only what was built."""
    build, final = stages()
    assert any("gcc" in rest for word, rest in build if word == "RUN")
    words = [word for word, _ in final]
    assert not any("apt-get" in rest for word, rest in final if word == "RUN")
    assert dict(final)["USER"] not in ("root", "0")
    assert "HEALTHCHECK" in words
    assert words.index("USER") > words.index("RUN")
    assert dict(final)["ENTRYPOINT"] == '["callwright"]'


def test_the_image_copies_what_there_is_and_what_the_context_has() -> None:
    """Every source of a COPY exists and .dockerignore lets it in."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for stage in stages():
        for word, rest in stage:
            if word == "COPY" and not rest.startswith("--from"):
                for source in rest.split()[:-1]:
                    assert (ROOT / source).exists(), source
                    assert source in allowed


def test_the_image_has_every_package() -> None:
    """The packages that pyproject names are the folders that the build stage copies."""
    copied = {rest.split()[0] for word, rest in stages()[0] if word == "COPY" and len(rest.split()) == 2}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert copied == packages


def test_base_images_are_pinned() -> None:
    """No `latest`: the same text builds the same thing."""
    images = [rest.split()[0] for stage in stages() for word, rest in stage if word == "FROM"]
    images += [service["image"] for service in compose()["services"].values() if "image" in service]
    for image in images:
        assert re.fullmatch(r"[a-z0-9/-]+:v?\d+\.\d+[\w.-]*", image), image


def test_compose_mounts_what_there_is() -> None:
    """Files and folders of ours exist, are read-only, and named volumes are declared."""
    declared = compose()["volumes"]
    for service in compose()["services"].values():
        for mount in service["volumes"]:
            source, _, rest = mount.partition(":")
            if source.startswith("./"):
                assert (ROOT / source).exists()
                assert rest.endswith(":ro")
            else:
                assert source in declared


def test_prometheus_scrapes_where_the_site_listens() -> None:
    """The three files that must agree on the port."""
    target = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    web = yaml.safe_load((ROOT / "config" / "callwright.yaml").read_text())["web"]
    listens = f"{web['host']}:{web['port']}"
    assert target["scrape_configs"][0]["static_configs"][0]["targets"] == [listens]
    assert f"http://{listens}/readyz" in dict(stages()[1])["HEALTHCHECK"]


@pytest.mark.parametrize("target", ["help", "run", "test", "bench", "check", "clean"])
def test_make_knows_its_targets(target: str) -> None:
    """`make help` lists each with a sentence; -n shows that it can be made."""
    assert re.search(rf"^{target} +\w", make("help"), flags=re.MULTILINE)
    assert make("-n", target)


def make(*arguments: str) -> str:
    done = subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def test_make_says_in_one_sentence_what_is_missing(tmp_path: Path) -> None:
    """A PATH with make, the shell and Python, but no compiler."""
    for name in ("make", "sh", "bash", "expr", "sed", "env"):
        found = next((Path(d) / name for d in ("/usr/bin", "/bin") if (Path(d) / name).exists()), None)
        if found is not None:
            (tmp_path / name).symlink_to(found)
    python = Path(os.path.realpath(sys.executable))
    done = subprocess.run(
        ["make", "tools", f"PYTHON={python}"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Callwright builds its media part with a C compiler: apt-get install gcc" in done.stderr
    assert "Traceback" not in done.stderr


def test_ci_runs_the_linters_and_the_tests() -> None:
    """An executable shell script that stops at the first failure, and names no package registry."""
    script = ROOT / ".ci" / "run"
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in text
    assert text.index("make check") < text.index("make test")
    assert "--index-url" not in text + (ROOT / "Makefile").read_text() + (ROOT / "Dockerfile").read_text()
