"""What the files of `config/` may say: one model a file, with defaults and limits. Times are seconds."""

import re
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from acd.routing.model import Strategy
from app import keeping
from app.protection import Defence, OverloadLimits, Seconds, network
from engine.sdp.crypto import SrtpPolicy
from kernel.schema import Model

Port = Annotated[int, Field(ge=0, le=65_535)]
"""0: any free one."""
Level = Annotated[int, Field(ge=1, le=10)]


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", text):
        raise ValueError(f"'{text}' is not a name: small letters a-z, digits, '_', '-' and '.', at most 64")
    return text


def _user(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.+*-]{1,64}", text):
        raise ValueError(f"'{text}' is not a SIP user or number: letters, digits and _ . + * -")
    return text


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_name)]
"""Of queues, agents, skills, trunks, calendars: labels of metrics and parts of URLs."""
User = Annotated[str, AfterValidator(_user)]


def _advertise(text: str) -> str:
    if text and not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s]+)(:[0-9]{1,5})?|[0-9A-Fa-f:.]+", text):
        raise ValueError(f"'{text}' is not a host or host:port, such as '203.0.113.7' or '[2001:db8::7]:5061'")
    return text


# --- callwright.yaml ------------------------------------------------------------------------------------------


SipTransport = Literal["udp", "tcp", "tls", "ws", "wss"]


class SipListen(Model):
    transport: SipTransport
    host: str
    port: Port = 5060
    advertise: Annotated[str, AfterValidator(_advertise)] = ""
    """`host` or `host:port` by which the world sees this listener (NAT, several networks); an address is named in SDP
    too. "" for `sip.advertise`, and without that for the address listened on."""


def _listen(value: Any) -> Any:
    """`udp:127.0.0.1:5060`, `tcp:[::1]:5060`."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(udp|tcp|tls|wss?):(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+)):(\d{1,5})", value)
    if not found:
        raise ValueError(f"'{value}' is not transport:host:port, such as 'udp:0.0.0.0:5060' or 'tcp:[::1]:5060'")
    return {"transport": found[1], "host": found[2] or found[3], "port": int(found[4])}


class KeyFiles(Model):
    """PEM files, relative to the site's folder: a certificate with its chain, and its key without password."""

    certificate: str
    key: str


class Tls(KeyFiles):
    """For listeners `tls:` and `wss:`, and for connections that we open. Files are read again when they change."""

    names: dict[str, KeyFiles] = Field(default={})
    """Other certificates, by the server name that the client asks for (SNI)."""
    client_ca: str = ""
    """Clients may show a certificate signed by these; "" asks for none."""
    require_client_certificate: bool = False
    server_ca: str = ""
    """Servers that we connect to must be signed by these; "" for those that the system trusts."""

    @model_validator(mode="after")
    def _asked(self) -> "Tls":
        if self.require_client_certificate and not self.client_ca:
            raise ValueError("'require_client_certificate' needs 'client_ca': whose certificates to accept")
        return self


class Sip(Model):
    listen: list[Annotated[SipListen, BeforeValidator(_listen)]] = Field(min_length=1)
    advertise: str = ""
    """Host that Via, Contact and SDP name when it is not the address listened on (NAT); "" for that address."""
    tls: Tls | None = None
    registration_min: Annotated[int, Field(ge=10, le=3600)] = 60
    registration_max: Annotated[int, Field(ge=60, le=86_400)] = 3600
    max_calls: Annotated[int, Field(ge=1, le=100_000)] = 5000
    keep_alive: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """Seconds of silence after which we ping on connections that we opened (RFC 5626 §3.5.1); 0: never."""
    defence: Defence = Defence()
    overload: OverloadLimits = OverloadLimits()


class Media(Model):
    host: str = "127.0.0.1"
    advertise: str = ""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    first_port: Annotated[int, Field(ge=1024, le=65_534)] = 20_000
    last_port: Annotated[int, Field(ge=1024, le=65_535)] = 29_999
    codecs: list[Literal["PCMU", "PCMA"]] = Field(default=["PCMA", "PCMU"], min_length=1)
    ptime_ms: Literal[20, 30, 40] = 20
    rtp_timeout: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """End a call whose audio has stopped for so long; 0: never."""
    srtp: SrtpPolicy = SrtpPolicy.FORBIDDEN
    """With the keys in SDP (RFC 4568), so for phones and trunks on TLS."""

    @model_validator(mode="after")
    def _ports(self) -> "Media":
        if self.last_port - self.first_port + 1 < 4 * self.processes:
            raise ValueError("first_port … last_port: there must be at least 4 ports for each media process")
        return self


class Paths(Model):
    """Relative ones start at the site's folder."""

    flows: str = "ivr_flows"
    recordings: str = "recordings"
    journal: str = "var/journal"
    run: str = "var/run"
    """Sockets between our processes."""


class Web(Model):
    host: str = "127.0.0.1"
    port: Port = 8080
    token: SecretStr = SecretStr("")
    """Bearer token for requests that change something; "" refuses them all."""


class Drain(Model):
    within: Annotated[float, Field(ge=0, le=86_400)] = 300.0
    """Seconds for calls in progress when the hotline is told to stop; those left then are ended. 0: at once."""


class Callwright(Model):
    name: str = "Callwright"
    domain: str = "callwright.local"
    """Domain of addresses of record, and digest realm."""
    sip: Sip
    media: Media = Media()
    paths: Paths = Paths()
    database: str = "sqlite+aiosqlite:///var/callwright.db"
    web: Web = Web()
    journal: keeping.Journal = keeping.Journal()
    recordings: keeping.Recordings = keeping.Recordings()
    disk: keeping.Disk = keeping.Disk()
    memory: keeping.Memory = keeping.Memory()
    drain: Drain = Drain()
    music: str = "music"
    languages: list[Name] = Field(default=["zh", "en"], min_length=1)
    """Spoken in this order until the caller has chosen one."""
    country: Annotated[str, Field(pattern="^([A-Z]{2})?$")] = ""
    """ISO 3166 code of the country whose way of writing telephone numbers is understood in agents.yaml."""
    numbers: dict[User, str] = Field(min_length=1)
    """Dialled number → flow."""


# --- trunks.yaml, skills.yaml, agents.yaml, queues.yaml, hours.yaml -------------------------------------------


class NumberRule(Model):
    """A number that begins with `prefix`, and is as long as `length` says, loses `strip` characters and gets `prepend`
    in front; or is refused. The first rule that fits decides; no rule: the number stays as it is."""

    prefix: Annotated[str, Field(pattern=r"^\+?[0-9*#]*$", max_length=32)] = ""
    length: Annotated[str, Field(pattern="^[0-9]{1,2}(-[0-9]{1,2})?$")] = "1-32"
    """`11` or `3-8`: characters, a leading + included."""
    strip: Annotated[int, Field(ge=0, le=32)] = 0
    prepend: Annotated[str, Field(pattern=r"^\+?[0-9*#]*$", max_length=32)] = ""
    refuse: bool = False


class TrunkTarget(Model):
    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Of a name without one, DNS says it (SRV; RFC 3263 §4.2); else 5060, or 5061 for TLS."""
    transport: Literal["udp", "tcp", "tls"] | None = None
    """Of a name without transport and port, DNS says it (NAPTR; §4.1); else udp."""
    priority: Annotated[int, Field(ge=0, le=65_535)] = 0
    """Lower ones first."""
    weight: Annotated[int, Field(ge=0, le=65_535)] = 1
    """Share of the calls among those of one priority; 0: only when the others fail."""


def _target(value: Any) -> Any:
    """`sip1.example.net`, `udp:192.0.2.1:5060`, `tcp:[2001:db8::1]:5060`."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(?:(udp|tcp|tls):)?(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::(\d{1,5}))?", value)
    if not found:
        raise ValueError(f"'{value}' is not [transport:]host[:port], such as 'sip.example.net' or 'tcp:192.0.2.1:5060'")
    return {"transport": found[1], "host": found[2] or found[3], "port": int(found[4]) if found[4] else None}


class TrunkRegistration(Model):
    expires: Annotated[int, Field(ge=30, le=86_400)] = 600
    contact: User | None = None
    """User part of the Contact that we register; the trunk's user when not given."""


class TrunkHealth(Model):
    every: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """Seconds between two OPTIONS; 0: none, calls alone tell."""
    failures: Annotated[int, Field(ge=1, le=100)] = 3
    """So many in a row, and a target is down."""


class TrunkOutbound(Model):
    """How to call through a trunk."""

    targets: Annotated[list[Annotated[TrunkTarget, BeforeValidator(_target)]], BeforeValidator(_listed)] = Field(
        min_length=1, max_length=32
    )
    domain: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]*$", max_length=253)] = ""
    """Of the operator: in From, To and REGISTER. The first target's host when not given."""
    user: User | None = None
    password: SecretStr | None = None
    realm: str = ""
    """The only one whose challenges are answered; the domain when not given."""
    registration: TrunkRegistration | None = None
    health: TrunkHealth = TrunkHealth()
    number: Annotated[str, Field(pattern=r"^(\+?[0-9]{1,31})?$")] = ""
    """Ours, in E.164: what is shown, and asserted."""
    show_caller: bool = False
    """Show the caller's number to the telephone that is rung, in place of ours."""
    assert_identity: bool = False
    """Send P-Asserted-Identity (RFC 3325) with our number: for operators that trust us."""
    caller: list[NumberRule] = Field(default=[], max_length=100)
    """E.164 → what the operator wants to see …"""
    called: list[NumberRule] = Field(default=[], max_length=100)
    """… and to be dialled."""

    @model_validator(mode="after")
    def _account(self) -> "TrunkOutbound":
        if (self.user is None) != (self.password is None):
            raise ValueError("'user' and 'password' belong together")
        if self.registration is not None and self.user is None:
            raise ValueError("'registration' needs 'user' and 'password'")
        return self


class TrunkInbound(Model):
    """Calls that prove this user and password come through the trunk, wherever they come from."""

    user: User
    password: SecretStr


class TrunkTrust(Model):
    tls_names: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$", max_length=253)]], BeforeValidator(_listed)
    ] = Field(min_length=1, max_length=32)
    """Domains or addresses (RFC 5922 §7: no wildcards). Calls come through the trunk over TLS only, from a peer whose
    certificate names one of them; `networks`, when given as well, must hold its address too."""


class Trunk(Model):
    networks: list[Annotated[IPv4Network | IPv6Network, BeforeValidator(network)]] = Field(default=[])
    """Calls from these source addresses need no password. The longest matching prefix over all trunks wins."""
    trust: TrunkTrust | None = None
    inbound: TrunkInbound | None = None
    max_calls: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """At once, both directions together."""
    calls_per_second: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """Both directions together; 0: no limit."""
    codecs: list[Literal["PCMU", "PCMA"]] | None = Field(default=None, min_length=1)
    """The site's when not given."""
    srtp: SrtpPolicy | None = None
    """In place of `media.srtp`, for calls both ways."""
    dtmf: Literal["rfc4733", "info"] = "rfc4733"
    """How keys travel."""
    caller: list[NumberRule] = Field(default=[], max_length=100)
    """What the operator writes → E.164, for who calls …"""
    called: list[NumberRule] = Field(default=[], max_length=100)
    """… and for what was dialled."""
    outbound: TrunkOutbound | None = None

    @model_validator(mode="after")
    def _useful(self) -> "Trunk":
        if not (self.networks or self.trust or self.inbound or self.outbound):
            raise ValueError("a trunk needs 'networks', 'trust', 'inbound' or 'outbound'")
        return self


class Trunks(Model):
    trunks: dict[Name, Trunk] = Field(default={})


class Skills(Model):
    skills: dict[Name, str] = Field(default={})
    """Name → what people call it."""


class Ha1(Model):
    """Digest secrets (RFC 7616 §3.4.2), 32 and 64 hexadecimal digits, in place of a password."""

    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] = ""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = ""


class Agent(Model):
    display: str
    user: User | None = None
    """Of the phone's registration: user part of the address of record, and digest user name."""
    phone: Annotated[str, Field(max_length=32)] = ""
    """Number of an ordinary telephone, rung when no phone of `user` is registered: `+8613912345678`, or as it is
    dialled in the site's `country`."""
    trunks: Annotated[list[Name], BeforeValidator(_listed)] = Field(default=[])
    """Through which it is called, best first."""
    password: SecretStr | None = None
    ha1: Ha1 | None = None
    skills: dict[Name, Level] = Field(default={})
    queues: list[Name] | None = None
    """Only these; all whose skills fit when not given."""
    wrap_up: Annotated[float, Field(ge=0, le=3600)] | None = None
    """In place of the queue's."""
    pickup: Annotated[list[Name], BeforeValidator(_listed)] = Field(default=[])
    """Groups in which each may pick up (*8) what rings at another."""

    @model_validator(mode="after")
    def _secret(self) -> "Agent":
        if self.user is not None and (self.password is None) == (self.ha1 is None):
            raise ValueError("an agent needs either 'password' or 'ha1'")
        if self.user is None and not self.phone:
            raise ValueError("an agent needs a 'user' (a softphone) or a 'phone' (a telephone), or both")
        if self.user is None and (self.password is not None or self.ha1 is not None):
            raise ValueError("a password without 'user' is nobody's")
        if bool(self.phone) != bool(self.trunks):
            raise ValueError("'phone' and 'trunks' belong together: the number, and what to call it through")
        return self


class Agents(Model):
    not_ready_reasons: dict[Annotated[str, Field(pattern="^[0-9]$")], Name] = Field(
        default={"1": "break", "2": "lunch", "3": "meeting"}
    )
    """Key pressed after *14 → reason."""
    agents: dict[Name, Agent] = Field(default={})


class Overflow(Model):
    """After so long in its own queue a call may also be taken by agents of these others."""

    after: Seconds
    queues: Annotated[list[Name], BeforeValidator(_listed)] = Field(min_length=1)


class Announce(Model):
    first: Annotated[float, Field(ge=0, le=3600)] | None = 5.0
    """Seconds from entering the queue to the first announcement of place and wait; null: none at all."""
    every: Annotated[float, Field(ge=0, le=3600)] = 45.0
    """Between announcements; 0: only the first."""


class Queue(Model):
    display: str
    skills: dict[Name, Level] = Field(default={})
    """Required of its agents: skill → lowest level."""
    ring_for: Seconds = 20.0
    wrap_up: Annotated[float, Field(ge=0, le=3600)] = 15.0
    max_wait: Seconds = 900.0
    max_calls: Annotated[int, Field(ge=1, le=100_000)] = 200
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """Added to the flow's."""
    strategy: Strategy = Strategy.LONGEST_IDLE
    wait_unstaffed: bool = False
    """Wait even when nobody who could answer is logged in; otherwise edge `no_agents`."""
    announce: Announce = Announce()
    music: str = ""
    """Clip without `.wav`; "" for the site's."""
    exit_keys: Annotated[str, Field(pattern="^[0-9*#]*$")] = ""
    """The caller leaves the queue by any of these keys (edge `key` of `enqueue`)."""
    record: bool = True
    service_level: Seconds = 20.0
    overflow: Overflow | None = None


class Queues(Model):
    queues: dict[Name, Queue] = Field(default={})


class CalendarText(Model):
    timezone: str
    weekly: dict[str, Annotated[list[str], BeforeValidator(_listed)]]
    exceptions: dict[str, Annotated[list[str], BeforeValidator(_listed)]] = Field(default={})


class Hours(Model):
    calendars: dict[Name, CalendarText] = Field(default={})
