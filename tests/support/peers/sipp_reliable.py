"""SIPp scenarios for what comes before the answer (RFC 3262): a caller that wants it acknowledged, and a telephone that
rings, sounds and then answers without a description of its own. Each ends by itself; its exit status is its verdict.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.peers.sipp_scenarios import HEADER, SDP

HOST = "127.0.0.1"
OWN = SDP.format(direction="sendrecv", version=1)


def _of_caller(method: str, cseq: int, extra: str = "", *, retrans: bool = True) -> str:
    again = ' retrans="500"' if retrans else ""
    return f"""<send{again}><![CDATA[
{method} [$target] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:13900009@[local_ip]>;tag=[pid]
To: [$remote]
Call-ID: [call_id]
CSeq: {cseq} {method}
Contact: <sip:13900009@[local_ip]:[local_port]>
Max-Forwards: 70
{extra}Content-Length: 0

]]></send>"""


CALLER = f"""{HEADER.format(name="caller")}<send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: <sip:13900009@[local_ip]>;tag=[pid]
To: <sip:[service]@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:13900009@[local_ip]:[local_port]>
Max-Forwards: 70
Require: 100rel
Content-Type: application/sdp
Content-Length: [len]

{OWN}]]></send>
<recv response="100" optional="true"/>
<recv response="183"><action>
  <ereg regexp="100rel" search_in="hdr" header="Require:" check_it="true" assign_to="whole"/>
  <ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" check_it="true" assign_to="rseq"/>
  <ereg regexp="m=audio [0-9]+" search_in="body" check_it="true" assign_to="whole"/>
  <ereg regexp="(sip:[^&gt;; ]*)" search_in="hdr" header="Contact:" check_it="true" assign_to="whole,target"/>
  <ereg regexp="[^ ].*" search_in="hdr" header="To:" check_it="true" assign_to="remote"/>
</action></recv>
<pause milliseconds="700"/>
{_of_caller("PRACK", 2, "RAck: [$rseq] 1 INVITE" + chr(10))}
<recv response="200"/>
<recv response="200"/>
{_of_caller("ACK", 1, retrans=False)}
<pause milliseconds="1000"/>
{_of_caller("BYE", 3)}
<recv response="200"/>
<Reference variables="whole"/>
</scenario>
"""
"""Lets the 183 come twice before it acknowledges it: SIPp takes no note of what is repeated."""


def _of_telephone(status: str, extra: str = "", body: str = "", *, retrans: bool = False) -> str:
    again = ' retrans="500"' if retrans else ""
    kind = "Content-Type: application/sdp\n" if body else ""
    return f"""<send{again}><![CDATA[
SIP/2.0 {status}
Via:[$via]
[last_From:]
To:[$to];tag=[pid]
[last_Call-ID:]
CSeq:[$cseq]
Contact: <sip:telephone@[local_ip]:[local_port]>
{extra}{kind}Content-Length: [len]

{body}]]></send>"""


_OK = """<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>"""


def _prack(rseq: int) -> str:
    match = f'<ereg regexp="^ *{rseq} [0-9]+ INVITE" search_in="hdr" header="RAck:" check_it="true" assign_to="whole"/>'
    return f'<recv request="PRACK"><action>{match}</action></recv>\n{_OK}'


TELEPHONE = f"""{HEADER.format(name="telephone")}<recv request="INVITE"><action>
  <ereg regexp=".*" search_in="hdr" header="Via:" assign_to="via"/>
  <ereg regexp=".*" search_in="hdr" header="To:" assign_to="to"/>
  <ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="cseq"/>
  <ereg regexp="100rel" search_in="hdr" header="Supported:" check_it="true" assign_to="whole"/>
</action></recv>
{_of_telephone("180 Ringing", "Require: 100rel" + chr(10) + "RSeq: 700" + chr(10))}
{_prack(700)}
{_of_telephone("183 Session Progress", "Require: 100rel" + chr(10) + "RSeq: 701" + chr(10), OWN)}
{_prack(701)}
<pause milliseconds="500"/>
{_of_telephone("200 OK", retrans=True)}
<recv request="ACK"/>
<recv request="BYE"/>
{_OK}
<Reference variables="whole"/>
</scenario>
"""


def start(folder: Path, name: str, scenario: str, port: int, rtp: int, *more: str) -> "subprocess.Popen[bytes]":
    """One call. Errors go to NAME.errors in the folder."""
    file = folder / f"{name}.xml"
    file.write_text(scenario)
    command: Sequence[str] = [
        *("sipp", *more, "-sf", str(file), "-i", HOST, "-p", str(port), "-m", "1", "-l", "1", "-nostdin"),
        *("-key", "rtp", str(rtp), "-timeout", "20s", "-timeout_error"),
        *("-trace_err", "-error_file", str(folder / f"{name}.errors")),
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
