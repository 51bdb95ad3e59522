"""SRTP keys in descriptions (RFC 4568): which a=crypto is taken, and what each policy makes of it."""

import base64

import pytest

from engine.media.plane import Codec, Remote, Srtp, SrtpSuite
from engine.sdp.crypto import PREFERENCE, SrtpKey, SrtpPolicy
from engine.sdp.describe import Description, parse
from engine.sdp.offer_answer import LocalMedia, NotAcceptable, accept, answer, offer

CM80, CM32 = SrtpSuite.AES_CM_128_HMAC_SHA1_80, SrtpSuite.AES_CM_128_HMAC_SHA1_32
GCM = SrtpSuite.AEAD_AES_128_GCM
FORBIDDEN, OPTIONAL, REQUIRED = SrtpPolicy
KEYS = tuple(SrtpKey(suite, bytes([n]) * suite.key_octets) for n, suite in enumerate(PREFERENCE))
OURS = {key.suite: key.key for key in KEYS}
THEIRS = bytes(range(30))
INLINE = base64.b64encode(THEIRS).decode()
SHORT = base64.b64encode(THEIRS[:28]).decode()


def ours(policy: SrtpPolicy) -> LocalMedia:
    return LocalMedia("192.0.2.1", 20000, (Codec.PCMA,), srtp=policy, keys=KEYS)


def offered(*media: str) -> Description:
    head = ["v=0", "o=- 1 1 IN IP4 192.0.2.9", "s=-", "c=IN IP4 192.0.2.9", "t=0 0"]
    return parse("\r\n".join([*head, *media, ""]).encode())


def secured(*cryptos: str, protocol: str = "RTP/SAVP") -> Description:
    return offered(f"m=audio 4000 {protocol} 8", *(f"a=crypto:{text}" for text in cryptos))


def answered(description: Description, policy: SrtpPolicy = OPTIONAL) -> tuple[Remote, list[str]]:
    """What it came to, and the lines of our answer that matter."""
    made = answer(description, ours(policy), 1, 1)
    assert made.remote is not None
    return made.remote, [line for line in made.body.decode().split("\r\n") if line.startswith(("m=", "a=crypto"))]


def ours_as(suite: SrtpSuite, tag: str) -> str:
    return f"a=crypto:{tag} {suite} inline:{base64.b64encode(OURS[suite]).decode()}"


@pytest.mark.parametrize("policy", [OPTIONAL, REQUIRED])
@pytest.mark.parametrize("protocol", ["RTP/SAVP", "RTP/SAVPF", "RTP/AVP", "RTP/AVPF"])
def test_first_suite_that_we_know_is_taken(policy: SrtpPolicy, protocol: str) -> None:
    """§5.1.2: with the tag of the offer, our own key, and the protocol as it was offered."""
    remote, lines = answered(
        secured(
            f"1 AES_192_CM_HMAC_SHA1_80 inline:{INLINE}",
            f"22 {CM32} inline:{INLINE}",
            f"3 {CM80} inline:{INLINE}",
            protocol=protocol,
        ),
        policy,
    )
    assert remote.srtp == Srtp(suite=CM32, local_key=OURS[CM32], remote_key=THEIRS)
    assert lines == [f"m=audio 20000 {protocol} 8", ours_as(CM32, "22")]


@pytest.mark.parametrize(
    "text",
    [
        f"1 {CM80} inline:{INLINE}|2^20",
        f"1 {CM80} inline:{INLINE}|1048576",
        f"1 {CM80} inline:{INLINE} WSH=128",
        f"1 {CM80} inline:{INLINE} -X-anything=1",
        f"1  {CM80}  INLINE:{INLINE}",
        f"999999999 {CM80} inline:{INLINE}",
    ],
)
def test_lifetime_and_hints_are_read_past(text: str) -> None:
    remote, _ = answered(secured(text))
    assert remote.srtp is not None
    assert remote.srtp.remote_key == THEIRS


def test_padding_of_the_key_may_be_missing() -> None:
    remote, _ = answered(secured(f"1 {GCM} inline:{SHORT.rstrip('=')}"))
    assert remote.srtp is not None
    assert remote.srtp.remote_key == THEIRS[:28]


@pytest.mark.parametrize(
    "text",
    [
        f"1 {CM80} inline:{INLINE}|2^20|1:4",
        f"1 {CM80} inline:{INLINE}|1:4",
        f"1 {CM80} inline:{INLINE};inline:{INLINE}",
        f"1 {CM80} inline:{SHORT}",
        f"1 {GCM} inline:{INLINE}",
        f"1 {CM80} inline:{INLINE[:-1]}*",
        f"1 {CM80} inline:{INLINE[:-1]}é",
        f"1 {CM80} inline:",
        f"1 {CM80} uri:{INLINE}",
        f"1 {CM80}",
        "1",
        "",
        f"x {CM80} inline:{INLINE}",
        f"²  {CM80} inline:{INLINE}",
        f"1234567890 {CM80} inline:{INLINE}",
        f"1 {CM80} inline:{INLINE} KDR=1",
        f"1 {CM80} inline:{INLINE} UNENCRYPTED_SRTP",
        f"1 {CM80} inline:{INLINE} UNAUTHENTICATED_SRTP",
        f"1 {CM80.lower()} inline:{INLINE}",
    ],
)
def test_attribute_that_we_cannot_use(text: str) -> None:
    """MKI, several keys, wrong length, parameters that would change what is sent: passed over, 488 when it is all."""
    with pytest.raises(NotAcceptable, match="no usable SRTP key"):
        answer(secured(text), ours(OPTIONAL), 1, 1)
    remote, lines = answered(secured(text, f"2 {CM80} inline:{INLINE}"))
    assert remote.srtp is not None
    assert lines[1].startswith("a=crypto:2 ")


def test_forbidden() -> None:
    """RTP/SAVP is refused, a=crypto beside RTP/AVP read past."""
    text = f"1 {CM80} inline:{INLINE}"
    with pytest.raises(NotAcceptable, match="SRTP is not spoken here"):
        answer(secured(text), ours(FORBIDDEN), 1, 1)
    remote, lines = answered(secured(text, protocol="RTP/AVP"), FORBIDDEN)
    assert remote.srtp is None
    assert lines == ["m=audio 20000 RTP/AVP 8"]
    assert b"crypto" not in offer(ours(FORBIDDEN), 1, 1)


def test_optional_takes_plain_rtp() -> None:
    remote, lines = answered(secured(protocol="RTP/AVP"))
    assert remote.srtp is None
    assert lines == ["m=audio 20000 RTP/AVP 8"]
    assert answered(secured("1 F8_128_HMAC_SHA1_80 inline:x", protocol="RTP/AVP"))[0].srtp is None


@pytest.mark.parametrize("protocol", ["RTP/AVP", "RTP/SAVP"])
def test_required_without_a_key_is_488(protocol: str) -> None:
    with pytest.raises(NotAcceptable, match="no usable SRTP key") as refusal:
        answer(secured(protocol=protocol), ours(REQUIRED), 1, 1)
    assert refusal.value.status == 488


@pytest.mark.parametrize(("policy", "live"), [(FORBIDDEN, "RTP/AVP"), (OPTIONAL, "RTP/SAVP"), (REQUIRED, "RTP/SAVP")])
def test_of_two_streams_the_one_that_fits(policy: SrtpPolicy, live: str) -> None:
    """How many phones offer both: RTP/SAVP first, RTP/AVP after it."""
    both = offered("m=audio 4000 RTP/SAVP 8", f"a=crypto:1 {CM80} inline:{INLINE}", "m=audio 4002 RTP/AVP 8")
    remote, lines = answered(both, policy)
    assert (remote.srtp is not None) == (live == "RTP/SAVP")
    assert [line for line in lines if line.startswith("m=audio 20000")] == [f"m=audio 20000 {live} 8"]


@pytest.mark.parametrize("protocol", ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "udptl"])
def test_other_ways_to_agree_on_keys_are_refused(protocol: str) -> None:
    with pytest.raises(NotAcceptable):
        answer(secured(f"1 {CM80} inline:{INLINE}", protocol=protocol), ours(OPTIONAL), 1, 1)


@pytest.mark.parametrize(("policy", "protocol"), [(OPTIONAL, "RTP/AVP"), (REQUIRED, "RTP/SAVP")])
def test_our_offer(policy: SrtpPolicy, protocol: str) -> None:
    body = offer(ours(policy), 1, 1).decode()
    assert f"m=audio 20000 {protocol} 8 101\r\n" in body
    tags = [line for line in body.split("\r\n") if line.startswith("a=crypto")]
    assert tags == [ours_as(GCM, "1"), ours_as(CM80, "2"), ours_as(CM32, "3")]


@pytest.mark.parametrize("policy", [OPTIONAL, REQUIRED])
def test_answer_to_our_offer(policy: SrtpPolicy) -> None:
    protocol = "RTP/SAVP" if policy is REQUIRED else "RTP/AVP"
    remote = accept(ours(policy), secured(f"2 {CM80} inline:{INLINE}", protocol=protocol))
    assert remote.srtp == Srtp(suite=CM80, local_key=OURS[CM80], remote_key=THEIRS)


@pytest.mark.parametrize(
    "cryptos",
    [
        [f"1 {CM80} inline:{INLINE}"],
        [f"4 {CM80} inline:{INLINE}"],
        [f"02 {CM80} inline:{INLINE}"],
        [f"2 {CM80} inline:{INLINE}", f"3 {CM32} inline:{INLINE}"],
        [f"2 {CM80} inline:{SHORT}"],
        [f"2 {CM80} inline:{INLINE}|1:4"],
    ],
    ids=["suite of another tag", "unknown tag", "other spelling", "two", "short key", "MKI"],
)
def test_answer_that_does_not_fit_our_offer(cryptos: list[str]) -> None:
    """Under any policy that offered keys: they would send what we cannot hear."""
    for policy, protocol in ((OPTIONAL, "RTP/AVP"), (REQUIRED, "RTP/SAVP")):
        with pytest.raises(NotAcceptable, match="no SRTP key that fits"):
            accept(ours(policy), secured(*cryptos, protocol=protocol))


def test_answer_without_a_key() -> None:
    assert accept(ours(OPTIONAL), secured(protocol="RTP/AVP")).srtp is None
    for policy, protocol in ((REQUIRED, "RTP/AVP"), (REQUIRED, "RTP/SAVP"), (OPTIONAL, "RTP/SAVP")):
        with pytest.raises(NotAcceptable):
            accept(ours(policy), secured(protocol=protocol))


def test_re_offer_keeps_protocol_and_keys() -> None:
    """§7.1.4: the same keys, so the crypto context goes on."""
    first = parse(answer(secured(f"9 {CM80} inline:{INLINE}"), ours(OPTIONAL), 1, 1).body)
    again = parse(offer(ours(OPTIONAL), 1, 2, first)).media[0]
    assert again.protocol == "RTP/SAVP"
    assert ("crypto", f"2 {CM80} inline:{base64.b64encode(OURS[CM80]).decode()}") in again.attributes


def test_no_repr_shows_a_key() -> None:
    local = ours(REQUIRED)
    remote, _ = answered(secured(f"1 {CM80} inline:{INLINE}"))
    for text in (repr(local), repr(remote), repr(KEYS)):
        assert "\\x" not in text
        assert INLINE not in text
