"""One JSON object a line, whatever the text."""

import json
import subprocess
import sys

import pytest

from app.logs import _escaped


@pytest.mark.parametrize("text", ["plain", "李娜", "line\nbreak", "\x1b[31m", "\u2028", "\x9b", "\u202e", '"quoted"'])
def test_text_from_outside_stays_on_its_line(text: str) -> None:
    """Escaped where it is not printable, readable where it is, and the same when read back."""
    line = _escaped({"text": text})
    assert line.isprintable()
    assert json.loads(line) == {"text": text}


def test_structlog_and_logging_write_the_same_kind_of_line() -> None:
    """In a process of its own, since both keep what they are told for ever. An exception stays on the line too."""
    code = (
        "import logging, structlog; from app.logs import configure_logs; configure_logs()\n"
        "structlog.get_logger().warning('bad packet', caller='\\x1b[31m')\n"
        "logging.getLogger('uvicorn.error').error('library says %s', 'this')\n"
        "try:\n 1/0\nexcept ZeroDivisionError:\n structlog.get_logger().exception('failed')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert (first["event"], first["caller"], first["level"]) == ("bad packet", "\x1b[31m", "warning")
    assert (second["event"], second["logger"], second["level"]) == ("library says this", "uvicorn.error", "error")
    assert "ZeroDivisionError" in third["exception"]
    assert done.stderr == ""
