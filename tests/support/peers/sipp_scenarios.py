"""SIPp scenarios: register, call, be called; in between, hold, resume and hang up on command (see sipp.py)."""

HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="{name}">\n'

SDP = """v=0
o=sipp 1 {version} IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio [rtp] RTP/AVP 0 101
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a={direction}
"""

LEARN_MEDIA = """<action>
  <ereg regexp="m=audio ([0-9]+)" search_in="body" check_it="true" assign_to="whole,port"/>
  <ereg regexp="c=IN IP4 ([0-9.]+)" search_in="body" check_it="true" assign_to="whole,host"/>
  {more}
  <log message="media [$host] [$port]"/>
</action>"""


def _register(expires: int) -> str:
    request = f"""<send retrans="500"><![CDATA[
REGISTER sip:[domain] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:[user]@[domain]>;tag=[pid]r[call_number]
To: <sip:[user]@[domain]>
Call-ID: [call_id]
CSeq: [cseq] REGISTER
Contact: <sip:[user]@[contact]>
Max-Forwards: 70
Expires: {expires}
%s
Content-Length: 0

]]></send>"""
    first = request.replace("%s\n", "")
    second = request.replace("%s", "[authentication]")
    return (
        HEADER.format(name="register")
        + f'{first}\n<recv response="100" optional="true"/>\n<recv response="401" auth="true"/>\n'
        + f'{second}\n<recv response="100" optional="true"/>\n<recv response="200"/>\n</scenario>\n'
    )


def _in_dialog(method: str, extra: str = "", body: str = "", *, ack: bool = False) -> str:
    """A request in the dialog; who is who was put into variables when it was set up."""
    retrans = "" if ack else ' retrans="500"'
    kind = "Content-Type: application/sdp\n" if body else ""
    return f"""<send{retrans}><![CDATA[
{method} [$target] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: [$local]
To: [$remote]
Call-ID: [call_id]
CSeq: [cseq] {method}
Contact: <sip:[user]@[local_ip]:[local_port]>
Max-Forwards: 70
{extra}{kind}Content-Length: [len]

{body}]]></send>"""


def _answer(status: str, via: str, body: str = "", *, tag: str = "") -> str:
    kind = "Content-Type: application/sdp\n" if body else ""
    return f"""<send><![CDATA[
SIP/2.0 {status}
{via}
[last_From:]
[last_To:]{tag}
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[user]@[local_ip]:[local_port]>
{kind}Content-Length: [len]

{body}]]></send>"""


def _reinvite(event: str, direction: str, version: int) -> str:
    learn = LEARN_MEDIA.format(more="")
    return f"""{_in_dialog("INVITE", body=SDP.format(direction=direction, version=version))}
<recv response="100" optional="true"/>
<recv response="200">{learn}</recv>
{_in_dialog("ACK", ack=True)}
<nop next="1"><action><log message="{event}"/></action></nop>"""


ASKED = '<ereg regexp="a=(sendrecv|sendonly|recvonly|inactive)" search_in="body" assign_to="whole,asked"/>'

TALK = f"""<label id="1"/>
<recv request="MESSAGE" optional="true" next="2"/>
<recv request="SUBSCRIBE" optional="true" next="3"/>
<recv request="PUBLISH" optional="true" next="4"/>
<recv request="REFER" optional="true" next="8"><action>
  <ereg regexp="sip:[^&gt;]*" search_in="hdr" header="Refer-To:" assign_to="goal"/>
</action></recv>
<recv request="NOTIFY" optional="true" next="7"/>
<recv request="INVITE" optional="true" next="6">{LEARN_MEDIA.format(more=ASKED)}</recv>
<recv request="OPTIONS" optional="true" next="7"/>
<recv request="BYE"/>
{_answer("200 OK", "[last_Via:]")}
<nop next="9"/>
<label id="2"/>
{_reinvite("held", "sendonly", 2)}
<label id="3"/>
{_reinvite("resumed", "sendrecv", 3)}
<label id="4"/>
{_in_dialog("BYE")}
<recv response="100" optional="true"/>
<recv response="200"/>
<nop next="9"/>
<label id="6"/>
{_answer("200 OK", "[last_Via:]", SDP.format(direction="sendrecv", version=4))}
<recv request="ACK"/>
<nop next="1"><action><log message="offered [$asked]"/></action></nop>
<label id="7"/>
{_answer("200 OK", "[last_Via:]")}
<nop next="1"/>
<label id="8"/>
{_in_dialog("REFER", "Refer-To: <[$goal]>" + chr(10))}
<recv response="202"/>
<nop next="1"/>
<label id="9"/>
<nop/>
<Reference variables="whole,asked"/>
</scenario>
"""

_PARTIES = """<ereg regexp="(sip:[^&gt;; ]*)" search_in="hdr" header="Contact:" assign_to="whole,target"/>
  <ereg regexp="[^ ].*" search_in="hdr" header="{local}:" assign_to="local"/>
  <ereg regexp="[^ ].*" search_in="hdr" header="{remote}:" assign_to="remote"/>"""

CALLER = f"""{HEADER.format(name="caller")}<send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:[user]@[local_ip]:[local_port]>;tag=[pid]c[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: [cseq] INVITE
Contact: <sip:[user]@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

{SDP.format(direction="sendrecv", version=1)}]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"><action><log message="ringing"/></action></recv>
<recv response="183" optional="true"/>
<recv response="200">{LEARN_MEDIA.format(more=_PARTIES.format(local="From", remote="To"))}</recv>
{_in_dialog("ACK", ack=True)}
<nop><action><log message="established"/></action></nop>
{TALK}"""

CALLEE = f"""{HEADER.format(name="callee")}<recv request="INVITE"><action>
  <ereg regexp=".*" search_in="hdr" header="Via:" assign_to="via"/>
  <ereg regexp="[^ ].*" search_in="hdr" header="CSeq:" assign_to="cseq"/>
  {_PARTIES.format(local="To", remote="From")}
  <ereg regexp="m=audio ([0-9]+)" search_in="body" check_it="true" assign_to="whole,port"/>
  <ereg regexp="c=IN IP4 ([0-9.]+)" search_in="body" check_it="true" assign_to="whole,host"/>
  <assignstr assign_to="local" value="[$local];tag=[pid]s[call_number]"/>
  <log message="incoming [call_id] [$remote]"/>
</action></recv>
{{ringing}}
<recv request="MESSAGE" optional="true" next="11"/>
<recv request="PUBLISH" optional="true" next="12"/>
<recv request="CANCEL"/>
{_answer("200 OK", "[last_Via:]")}
{{terminated}}
<recv request="ACK"/>
<nop next="9"/>
<label id="12"/>
{{declined}}
<recv request="ACK"/>
<nop next="9"/>
<label id="11"/>
{{answered}}
<recv request="ACK"><action>
  <log message="media [$host] [$port]"/>
  <log message="established"/>
</action></recv>
{TALK}"""


def _first_invite(status: str, body: str = "") -> str:
    """An answer to the INVITE that began the call, whatever came since."""
    kind = "Content-Type: application/sdp\n" if body else ""
    retrans = ' retrans="500"' if body else ""
    return f"""<send{retrans}><![CDATA[
SIP/2.0 {status}
Via:[$via]
From: [$remote]
To: [$local]
Call-ID: [call_id]
CSeq: [$cseq]
Contact: <sip:[user]@[local_ip]:[local_port]>
{kind}Content-Length: [len]

{body}]]></send>"""


CALLEE = (
    CALLEE.replace("{ringing}", _first_invite("180 Ringing"))
    .replace("{terminated}", _first_invite("487 Request Terminated"))
    .replace("{declined}", _first_invite("603 Decline"))
    .replace("{answered}", _first_invite("200 OK", SDP.format(direction="sendrecv", version=1)))
)
REGISTER, UNREGISTER = _register(300), _register(0)
