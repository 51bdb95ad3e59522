"""RFC 4475 §3.1.1: valid, though it may not look so. §3.2: transactions. §3.4: what RFC 2543 allowed."""

from tests.support.torture.case import CALL, SILENCE, Build, Case, Peer, case, usual, written

TORTUOUS = r"""INVITE sip:1001@hotline.example;strange=yes SIP/2.0
tO :
 sip:1001@hotline.example ;   tag    = 88ab17
fROM   : "Li \\ \"Desk\""       <sip:13800@desk.example>
  ;
  tag = «tag»
mAX-FORWARDS: 0068
cALL-Id: «id»
l: «length»
cSeQ: 000«n»
  INVITE
v: «hop»
 ;branch  =   odd.«branch»
s :
BrandNewHeader:   some value
 that goes on in the next line
HeaderWithNothingButMarks: ;;,,;;,;
c: application/sdp
Route:
 <sip:front.hotline.example;lr;odd=thing;flag>
v:  SIP  / 2.0  / TCP     door.hotline.example   ;
  branch  =   z9hG4bK77ab  ,
 SIP  /    2.0   / UDP  192.0.2.30   ; branch=
 z9hG4bK77ac
m:"Li \"\" D" <sip:13800@«at»> ; odd =
      thing ;
  flag ; q = 0.7

"""

EVERY_CHARACTER = (
    r"""!strange-Call0123456789_*+`.%a7'~ sip:9_odd.Li~(is-it!so)&no+way$/?,/;;*:&yes=2,no*p$~d.(o'k)@h.example SIP/2.0
Via: «hop»;branch=«branch»-.!%66*_+`'~
Max-Forwards: 70
To: "BEL:\BEL NUL:\NUL DEL:\DEL" <sip:9_odd.Li~(is-it!so)&no+way$/or?,/;;*@hotline.example>
From: word1~` word2'+_ word3*%!.- <sip:li@desk.example>;odd''~+*_!.-%="你好";tag=«tag»~1'+`*%!-.
Call-ID: «id»%ZK-!.*_+'@w`~)(><:\/"][?}{
CSeq: «n» !strange-Call0123456789_*+`.%a7'~
odd-Header-!.%*+_`'~: 值 значение
Content-Length: 0

""".replace("\\BEL", "\\\x07")
    .replace("\\NUL", "\\\x00")
    .replace("\\DEL", "\\\x7f")
)

OLD = """INVITE sip:1001@hotline.example SIP/2.0
Via: «hop»
From: <sip:+862150000@desk.example;user=phone>
Record-Route: <sip:1001@hotline.example;maddr=127.0.0.1>
To: sip:1001@hotline.example;user=phone
Call-ID: «id»
CSeq: «n» INVITE
Content-Type: application/sdp

"""

LONG = "seemingly" + "endless" * 30
PARTS = b"--cut\r\nContent-Type: text/plain\r\n\r\nhello\r\n--cut\r\nContent-Type: application/x\r\n\r\n"
PARTS += b"\x00\xff\r\n\r\n\x80--cut--\r\n"


def twice(peer: Peer) -> bytes:
    """A REGISTER, and an INVITE to a number that is none, in one datagram."""
    first = usual("REGISTER sip:callwright.local SIP/2.0", "Contact: <sip:8001@«at»>\n")
    second = usual("INVITE sip:999999@hotline.example SIP/2.0", "", ("«id»", "«id»-second"))
    return first(peer) + (second(peer) if not peer.auth or peer.transport == "UDP" else b"")


def long_values() -> Build:
    vias = "".join(f"Via: SIP/2.0/TCP h{n}.{LONG[:60]}.example;branch=z9hG4bK{LONG}{n}\n" for n in range(30))
    more = f"Unknown-{LONG}: {LONG * 4};{LONG}={LONG}\n{vias}"
    return usual(
        "INVITE sip:1001@hotline.example SIP/2.0",
        more,
        ("<sip:13800@desk.example>", f'"{LONG}" <sip:{LONG}@{LONG[:60]}.example;{LONG}={LONG}>;{LONG}={LONG}'),
        ("«tag»", f"«tag»{LONG}"),
        ("«id»", f"«id»{LONG}"),
    )


VALID: tuple[Case, ...] = (
    case("4475 3.1.1.1", "wsinv", written(TORTUOUS, sdp=True), "read as any other", "481: its To tag is not ours", 481),
    case("4475 3.1.1.2", "intmeth", written(EVERY_CHARACTER), "read; the method is unknown", "405", 405),
    case(
        "4475 3.1.1.3",
        "esc01",
        usual(
            "INVITE sip:%31%3001@hotline.example SIP/2.0",
            "",
            ("<sip:13800@desk.example>", "<sip:sips%3Ali%40desk%20two@desk.example>"),
            ("Contact: <sip:13800@«at»>", "Contact: <sip:%6Ci@«at»;%6Cr;n%61me=v%61lue%25%34%31>"),
        ),
        "escapes undone where names are compared, kept where they matter",
        "the call to 1001 is set up",
        CALL,
    ),
    case(
        "4475 3.1.1.4",
        "escnull",
        usual("REGISTER sip:callwright.local SIP/2.0", "Contact: <sip:%00@«at»>\nContact: <sip:%00%00@«at»>\n"),
        "two bindings, told apart",
        "200 with both",
        200,
        contains="<sip:%00%00@",
    ),
    case(
        "4475 3.1.1.5",
        "esc02",
        usual("RE%47IST%45R sip:callwright.local SIP/2.0", "", ("To: <sip:1001", 'To: "%Z%45" <sip:1001')),
        "not taken for REGISTER",
        "405",
        405,
    ),
    case(
        "4475 3.1.1.6",
        "lwsdisp",
        usual("OPTIONS sip:hotline.example SIP/2.0", "", ("From: <", "From: Li<")),
        "read",
        "200",
        200,
    ),
    case("4475 3.1.1.7", "longreq", long_values(), "read", "the call is set up", CALL),
    case(
        "4475 3.1.1.8",
        "dblreq",
        twice,
        "in a datagram the octets after the body are ignored; in a stream they are the next message",
        "UDP: one answer; TCP: two",
        200,
        second=404,
    ),
    case(
        "4475 3.1.1.9",
        "semiuri",
        usual("OPTIONS sip:li;of=desk%40two.example@hotline.example SIP/2.0"),
        "the semicolon belongs to the user",
        "200",
        200,
    ),
    case(
        "4475 3.1.1.10",
        "transports",
        usual(
            "OPTIONS sip:hotline.example SIP/2.0",
            "".join(
                f"Via: SIP/2.0/{name} h{name}.example;branch=z9hG4bK{name}\n" for name in ("SCTP", "TLS", "NEW", "TCP")
            ),
        ),
        "transports in Via that we do not know are no fault",
        "200",
        200,
    ),
    case(
        "4475 3.1.1.11",
        "mpart01",
        usual("MESSAGE sip:li@hotline.example SIP/2.0", "Content-Type: multipart/mixed;boundary=cut\n", body=PARTS),
        "a body of several parts, some binary, is read; the method may be refused",
        "405",
        405,
    ),
    case(
        "4475 3.1.1.12",
        "unreason",
        usual("SIP/2.0 200 = 2**3 * 9 все хорошо 很好", "", ("CSeq: «n» SIP/2.0", "CSeq: «n» INVITE")),
        "read; an answer to nothing is dropped",
        "dropped",
        SILENCE,
    ),
    case(
        "4475 3.1.1.13",
        "noreason",
        usual("SIP/2.0 100 ", "", ("CSeq: «n» SIP/2.0", "CSeq: «n» INVITE")),
        "read; an answer to nothing is dropped",
        "dropped",
        SILENCE,
    ),
)

TRANSACTIONS: tuple[Case, ...] = (
    case(
        "4475 3.2.1",
        "badbranch",
        usual("OPTIONS sip:hotline.example SIP/2.0", "", ("«via»", "«hop»;branch=z9hG4bK")),
        "400, or told apart as RFC 2543 did",
        "200, told apart by RFC 2543's rule",
        200,
    ),
)

BACKWARD: tuple[Case, ...] = (
    case(
        "4475 3.4.1",
        "inv2543",
        written(OLD, sdp=True),
        "accepted: no branch, From tag, Max-Forwards, Contact, Content-Length. In a stream the last is a must",
        "UDP: the call is set up; TCP: 400 and the connection is closed",
        CALL,
        tcp=400,
        framing=400,
    ),
)
