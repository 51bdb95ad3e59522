"""What stands between phones and a hotline: Kamailio as a proxy (Record-Route, Path), sippy as a back-to-back user
agent. Each is started for a server, and gives the address that phones take for it."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.transport.tls import KeyPair
from tests.support.peers.remote import PATIENCE, ROOT, PeerError, free_ports, is_free

HOST = "127.0.0.1"

KAMAILIO = """#!KAMAILIO
debug=1
log_stderror=yes
children=2
listen=udp:{host}:{port}
{listen}
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "path.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
{modules}
modparam("rr", "enable_double_rr", 1)

request_route {{
  if (!mf_process_maxfwd_header("10")) {{
    sl_send_reply("483", "Too Many Hops");
    exit;
  }}
  if (is_method("CANCEL") || (is_method("ACK") && !has_totag())) {{
    if (t_check_trans()) t_relay();
    exit;
  }}
  if (!has_totag() && loose_route_preloaded()) {{
    record_route();
    t_relay();
    exit;
  }}
  if (has_totag() && loose_route()) {{
    t_relay();
    exit;
  }}
  if (has_totag()) {{
    if (is_method("ACK")) {{
      if (t_check_trans()) t_relay();
      exit;
    }}
    sl_send_reply("481", "Call/Transaction Does Not Exist");
    exit;
  }}
  if (is_method("REGISTER")) {{
    add_path();
  }} else {{
    record_route();
  }}
  $du = "{server}";
  t_relay();
}}
"""
TLS = """
disable_tcp=no
enable_tls=yes
listen=tls:{host}:{port}
"""
TLS_MODULES = """loadmodule "tls.so"
modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "certificate", "{certificate}")
modparam("tls", "private_key", "{key}")
modparam("tls", "ca_list", "{authority}")
modparam("tls", "verify_certificate", 1)
"""


@contextlib.contextmanager
def kamailio(folder: Path, server: str, *, pair: KeyPair | None = None, authority: Path | None = None) -> Iterator[str]:
    """A proxy in front of `server` (host:port): it stays in dialogs, and in the way to registered phones (RFC 3327).
    pair, authority: it talks TLS with the server, and UDP with phones."""
    port, secure = free_ports(2)
    told: dict[str, str | int] = {
        "host": HOST,
        "port": port,
        "server": f"sip:{server}",
        "listen": "disable_tcp=yes",
        "modules": "",
    }
    if pair is not None:
        told["server"] = f"sip:{server};transport=tls"
        told["listen"] = TLS.format(host=HOST, port=secure)
        told["modules"] = TLS_MODULES.format(certificate=pair.certificate, key=pair.key, authority=authority)
    config = folder / f"kamailio-{port}.cfg"
    config.write_text(KAMAILIO.format(**told))
    command = ["kamailio", "-f", str(config), "-DD", "-E", "-m", "16", "-M", "4", "-Y", str(folder)]
    with running(command, folder / f"kamailio-{port}.log", port):
        yield f"{HOST}:{port}"


@contextlib.contextmanager
def sippy(folder: Path, server: str) -> Iterator[str]:
    """A B2BUA before `server`: calls get a second dialog; registrations pass as through a proxy; media go past it."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "sippy.b2bua_simple", "-f", "-l", HOST, "-p", str(port), "-n", server]
    with running(command, folder / f"sippy-{port}.log", port):
        yield f"{HOST}:{port}"


MIDDLES = {"kamailio": kamailio, "sippy": sippy}


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, port: int) -> Iterator[None]:
    """Until the end of the block. Raises PeerError, with its log, when it does not take its port."""
    environment = {**os.environ, "SIPLOG_LOGFILE_FILE": str(log), "SIPLOG_BEND": "stderr"}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=ROOT,
                                   env=environment)  # fmt: skip
    try:
        until = time.monotonic() + PATIENCE
        while is_free(HOST, port):
            if process.poll() is not None or time.monotonic() > until:
                raise PeerError(f"{command[0]} does not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
