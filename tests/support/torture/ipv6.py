"""RFC 5118 §4: addresses of IPv6."""

from tests.support.torture.case import CALL, Build, Case, case, description, usual

HOP = "[2001:db8::77:1]"


def register(uri: str) -> Build:
    return usual(f"REGISTER {uri} SIP/2.0", "Contact: <sip:8001@[2001:db8::77:2]>\n")


def bye(via: str, more: str = "") -> Build:
    """A BYE of a call that there is not."""
    return usual(
        "BYE sip:1001@[2001:db8::10] SIP/2.0",
        more,
        ("«via»", via),
        ("To: <sip:1001@hotline.example>", "To: <sip:1001@hotline.example>;tag=none"),
    )


def invite(*connections: str) -> Build:
    return usual("INVITE sip:1001@[2001:db8::10] SIP/2.0", body=description(*connections))


IPV6: tuple[Case, ...] = (
    case("5118 4.1", "ipv6-good", register("sip:[2001:db8::10]"), "read", "200", 200, contains="[2001:db8::77:2]"),
    case("5118 4.2", "ipv6-bad", register("sip:2001:db8::10"), "400: no brackets", "400", 400, parser=400),
    case(
        "5118 4.3",
        "port-ambiguous",
        register("sip:[2001:db8::10:5070]"),
        "read; 5070 is of the address",
        "200",
        200,
    ),
    case("5118 4.4", "port-unambiguous", register("sip:[2001:db8::10]:5070"), "read; 5070 is the port", "200", 200),
    case(
        "5118 4.5",
        "via-received-param-with-delim",
        bye("«via»;received=[2001:db8::9:255]"),
        "read",
        "481: there is no such call",
        481,
    ),
    case(
        "5118 4.5",
        "via-received-param-no-delim",
        bye("«via»;received=2001:db8::9:255"),
        "read, too",
        "481: there is no such call",
        481,
    ),
    case("5118 4.6", "ipv6-in-sdp", invite("IN IP6 ::1"), "read", "the call is set up", CALL),
    case(
        "5118 4.7",
        "mult-ip-in-header",
        bye("«via»", f"Via: SIP/2.0/UDP {HOP}:6050;branch=z9hG4bK1\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK2\n"),
        "both kinds of addresses are read",
        "481: there is no such call",
        481,
    ),
    case(
        "5118 4.8",
        "mult-ip-in-sdp",
        invite("IN IP6 ::1", "IN IP4 127.0.0.1"),
        "read; each stream has its own address",
        "the call is set up with the first stream",
        CALL,
    ),
    case(
        "5118 4.9",
        "ipv4-mapped-ipv6",
        invite("IN IP6 ::ffff:127.0.0.1"),
        "read",
        "the call is set up",
        CALL,
    ),
    case(
        "5118 4.10",
        "ipv6-bug-abnf-3-colons",
        usual("OPTIONS sip:li@[2001:db8:::192.0.2.1] SIP/2.0"),
        "read, though one colon is too many: the grammar of RFC 3261 had it so",
        "200",
        200,
    ),
    case(
        "5118 4.10",
        "ipv6-correct-abnf-2-colons",
        usual("OPTIONS sip:li@[2001:db8::192.0.2.1] SIP/2.0"),
        "read",
        "200",
        200,
    ),
)
