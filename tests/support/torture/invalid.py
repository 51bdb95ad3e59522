"""RFC 4475 §3.1.2: messages that are wrong. Each gets an answer that its sender can match, or none when it is one."""

from tests.support.torture.case import CALL, LENGTH, SILENCE, Build, Case, Peer, case, usual, written

INVITE = "INVITE sip:1001@hotline.example SIP/2.0"
OPTIONS = "OPTIONS sip:hotline.example SIP/2.0"
REGISTER = "REGISTER sip:callwright.local SIP/2.0"
FOR_INVITE = ("CSeq: «n» SIP/2.0", "CSeq: «n» INVITE")
HUGE = "36893488147419103299"


def cut_short(peer: Peer) -> bytes:
    """The last lines of the description are missing."""
    return usual(INVITE)(peer)[:-20]


def bad(section: int, name: str, build: Build, ours: str = "400") -> Case:
    return case(f"4475 3.1.2.{section}", name, build, "400", ours, 400, parser=400)


def wrong_separators() -> Build:
    return usual(INVITE, "", ("«via»", "«hop»;;,;,,"), ("<sip:13800@«at»>\nC", '"" <> ;,;,;;\nC'))


def response(section: int, name: str, start: str, *swaps: tuple[str, str]) -> Case:
    build = usual(start, "", FOR_INVITE, *swaps)
    return case(f"4475 3.1.2.{section}", name, build, "dropped", "dropped", SILENCE, parser=400)


INVALID: tuple[Case, ...] = (
    bad(1, "badinv01", wrong_separators(), "400, with as much of Via as can be read"),
    case(
        "4475 3.1.2.2",
        "clerr",
        cut_short,
        "in a datagram 400; in a stream the rest is awaited, and the connection closed when none comes",
        "UDP: 400; TCP: answered when the rest is here, closed after 10 s (30 s on a connection that was used)",
        400,
        tcp=CALL,
        parser=400,
        framing="waits",
    ),
    case(
        "4475 3.1.2.3",
        "ncl",
        usual(INVITE, "", ("«length»", "-999")),
        "400; a stream cannot go on",
        "400; TCP: and the connection is closed",
        400,
        parser=400,
        framing=400,
    ),
    bad(
        4,
        "scalar02",
        usual(
            REGISTER,
            f"Contact: <sip:8001@«at»>;expires={HUGE}\nExpires: {HUGE}\n",
            ("CSeq: «n»", f"CSeq: {HUGE}"),
            ("70", "300"),
        ),
    ),
    response(
        5,
        "scalarlg",
        "SIP/2.0 503 Service Unavailable",
        ("CSeq: «n»", f"CSeq: {HUGE}"),
        ("Max-Forwards: 70", f'Retry-After: {HUGE}\nWarning: 3999 door.example "odd"'),
    ),
    bad(6, "quotbal", usual(INVITE, "", ("To: <", 'To: "Front desk <'))),
    bad(7, "ltgtruri", usual("INVITE <sip:1001@hotline.example> SIP/2.0")),
    bad(8, "lwsruri", usual("INVITE sip:1001@hotline.example; lr SIP/2.0")),
    bad(9, "lwsstart", usual("INVITE  sip:1001@hotline.example  SIP/2.0")),
    bad(10, "trws", usual("OPTIONS sip:hotline.example SIP/2.0  ")),
    case(
        "4475 3.1.2.11",
        "escruri",
        usual("INVITE sip:1001@hotline.example?Route=%3Csip:elsewhere.example%3E SIP/2.0"),
        "400, or the header in the Request-URI ignored; never followed",
        "400",
        400,
        parser=400,
    ),
    case(
        "4475 3.1.2.12",
        "baddate",
        usual(INVITE, "Date: Sat, 21 Nov 2026 09:00:00 CST\n"),
        "400, or ignored where the date is not used",
        "not used: the call is set up",
        CALL,
    ),
    bad(13, "regbadct", usual(REGISTER, "Contact: sip:8001@«at»?Route=%3Csip:elsewhere.example%3E\n")),
    bad(
        14, "badaspec", usual(OPTIONS, "", ("To: <sip:1001@hotline.example>", 'To: "Desk, F" < sip:1001@two.example >'))
    ),
    bad(15, "baddn", usual(OPTIONS, "", ("From: <", "From: Desk, Front <"))),
    case(
        "4475 3.1.2.16",
        "badvers",
        usual("OPTIONS sip:hotline.example SIP/8.1", "", ("«via»", "SIP/8.1/«transport» «at»;branch=«branch»")),
        "505",
        "505",
        505,
        parser=505,
    ),
    bad(17, "mismatch01", usual(OPTIONS, "", ("CSeq: «n» OPTIONS", "CSeq: «n» INVITE"))),
    case(
        "4475 3.1.2.18",
        "mismatch02",
        usual("NEWTHING sip:hotline.example SIP/2.0", "", ("CSeq: «n» NEWTHING", "CSeq: «n» INVITE")),
        "400 or 501",
        "400",
        400,
        parser=400,
    ),
    response(19, "bigcode", "SIP/2.0 4294967499 too great for 32 bits"),
)

INCOMPLETE = """INVITE sip:1001@hotline.example SIP/2.0
CSeq: «n» INVITE
Via: «via»
Content-Type: application/sdp
Content-Length: «length»

"""

TWICE = """From: <sip:13801@desk.example>;tag=«tag»2
To: <sip:1002@hotline.example>
Call-ID: «id»-2
CSeq: 9«n» INVITE
Max-Forwards: 5
"""


def not_sip(section: int, name: str, uri: str) -> Case:
    build = usual(f"OPTIONS {uri} SIP/2.0", "", ("To: <sip:1001@hotline.example>", f"To: <{uri}>"))
    return case(f"4475 3.3.{section}", name, build, "read; 416", "416", 416)


def register(section: int, name: str, contact: str, must: str, kept: str) -> Case:
    build = usual(REGISTER, f"Contact: {contact}\n")
    return case(f"4475 3.3.{section}", name, build, must, "200, kept as it should be", 200, contains=kept)


APPLICATION: tuple[Case, ...] = (
    case("4475 3.3.1", "insuf", written(INCOMPLETE, sdp=True), "400 if possible", "400", 400, parser=400),
    not_sip(2, "unkscm", "neverheardof:opaquetext%20here"),
    not_sip(3, "novelsc", "soap.beep://192.0.2.103:3002"),
    case(
        "4475 3.3.4",
        "unksm2",
        usual(
            REGISTER,
            "Contact: <name:Li_Desk>\n",
            ("<sip:8001@callwright.local>", "isbn:9787020002207"),
            ("<sip:13800@desk.example>", "<http://desk.example>"),
        ),
        "read; a registrar answers 400, since an address of record is a SIP URI",
        "400",
        400,
    ),
    case(
        "4475 3.3.5",
        "bext01",
        usual(OPTIONS, "Require: foretelling, mindReading\nProxy-Require: allKnowing\n"),
        "420 with the extensions in Unsupported",
        "420",
        420,
        contains="Unsupported: foretelling, mindReading",
    ),
    case(
        "4475 3.3.6",
        "invut",
        usual(INVITE, "", ("application/sdp", "application/of-our-own")),
        "415 with Accept",
        "415",
        415,
        contains="Accept: application/sdp",
    ),
    case(
        "4475 3.3.7",
        "regaut01",
        usual(REGISTER, "Contact: <sip:8001@«at»>\nAuthorization: HandShake secret=yes\n", ("«auth»", "")),
        "401 with a scheme that we know",
        "401",
        401,
        contains="WWW-Authenticate: Digest",
    ),
    case("4475 3.3.8", "multi01", usual(INVITE, TWICE), "400", "400", 400, parser=400),
    case(
        "4475 3.3.9",
        "mcl01",
        usual(OPTIONS, "Content-Length: 13\n", (LENGTH, "Content-Length: 5\n"), body=b"thirteen here"),
        "400; a stream cannot go on",
        "400; TCP: and the connection is closed",
        400,
        parser=400,
        framing=400,
    ),
    case(
        "4475 3.3.10",
        "bcast",
        usual("SIP/2.0 200 OK", "Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKall\n", FOR_INVITE),
        "dropped, never sent on",
        "dropped",
        SILENCE,
    ),
    case(
        "4475 3.3.11",
        "zeromf",
        usual(OPTIONS, "", ("70", "0")),
        "a proxy refuses (483), an endpoint answers",
        "200",
        200,
    ),
    register(
        12, "cparam01", "sip:+862150000@«at»;odd", "`odd` is the header's parameter", "<sip:+862150000@«at»>;expires="
    ),
    register(
        13, "cparam02", "<sip:+862150000@«at»;odd>", "`odd` belongs to the URI", "<sip:+862150000@«at»;odd>;expires="
    ),
    register(
        14,
        "regescrt",
        "<sip:8001@«at»?Route=%3Csip:elsewhere.example%3E>",
        "the header within the URI is the contact's, not the REGISTER's",
        "?Route=%3Csip:elsewhere.example%3E>",
    ),
    case(
        "4475 3.3.15",
        "sdp01",
        usual(INVITE, "Accept: text/never-heard-of\n"),
        "406 (or 400): our description may not be sent",
        "406",
        406,
    ),
)
