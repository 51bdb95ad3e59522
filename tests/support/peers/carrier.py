"""A carrier that speaks TLS alone with those who trust it: Kamailio as a registrar with digest, in front of one
telephone that speaks UDP. It wants a certificate from whoever connects, and shows its own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from engine.transport.tls import KeyPair
from tests.support.peers.middle import HOST, running
from tests.support.peers.remote import free_ports

USER, PASSWORD, REALM = "gw", "secret", "op.example"
CONFIG = """#!KAMAILIO
debug=1
log_stderror=yes
children=2
listen=udp:{host}:{port}
disable_tcp=no
enable_tls=yes
listen=tls:{host}:{secure}
loadmodule "tls.so"
loadmodule "pv.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "certificate", "{pair.certificate}")
modparam("tls", "private_key", "{pair.key}")
modparam("tls", "ca_list", "{authority}")
modparam("tls", "verify_certificate", 1)
modparam("tls", "require_certificate", 1)
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
  if (has_totag()) {{
    if (loose_route()) t_relay();
    else if (is_method("ACK") && t_check_trans()) t_relay();
    exit;
  }}
  if (is_method("OPTIONS")) {{
    sl_send_reply("200", "OK");
    exit;
  }}
  if (is_method("REGISTER")) {{
    if (!pv_www_authenticate("{realm}", "{password}", "0")) {{
      www_challenge("{realm}", "0");
      exit;
    }}
    save("location");
    exit;
  }}
  record_route();
  if (proto == UDP) {{
    $var(dialled) = $rU;
    $rU = "{user}";
    if (!lookup("location")) {{
      sl_send_reply("480", "Not Registered");
      exit;
    }}
    $rU = $var(dialled);
  }} else {{
    $du = "sip:{telephone}";
  }}
  t_relay();
}}
"""


class Carrier(NamedTuple):
    udp: str
    """host:port for telephones."""
    tls_port: int


@contextlib.contextmanager
def carrier(folder: Path, telephone: str, pair: KeyPair, authority: Path) -> Iterator[Carrier]:
    """telephone: host:port, rung by every call that comes over TLS. What telephones dial goes to whoever registered as
    USER."""
    port, secure = free_ports(2)
    config = folder / f"carrier-{port}.cfg"
    told = {"host": HOST, "port": port, "secure": secure, "pair": pair, "authority": authority, "telephone": telephone}
    config.write_text(CONFIG.format(**told, user=USER, password=PASSWORD, realm=REALM))
    command = ["kamailio", "-f", str(config), "-DD", "-E", "-m", "16", "-M", "4", "-Y", str(folder)]
    with running(command, folder / f"carrier-{port}.log", port):
        yield Carrier(f"{HOST}:{port}", secure)
