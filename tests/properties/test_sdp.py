"""Session descriptions: round trip, and no bytes that get out more than SdpError or NotAcceptable."""

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.media.plane import Codec, Direction
from engine.sdp.crypto import PREFERENCE, SrtpKey, SrtpPolicy
from engine.sdp.describe import Attribute, Connection, Description, Media, Origin, SdpError, parse
from engine.sdp.offer_answer import LocalMedia, NotAcceptable, accept, answer, offer

words = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=12)
values = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)
names = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="-"), min_size=1, max_size=10)
families = st.sampled_from(["IP4", "IP6"])
connections = st.builds(Connection, families, words)
ports = st.integers(0, 65_535)
known = st.sampled_from(
    [
        ("rtpmap", "0 PCMU/8000"),
        ("rtpmap", "96 telephone-event/8000"),
        ("rtpmap", "97 PCMA/8000"),
        ("ptime", "30"),
        ("sendonly", None),
        ("inactive", None),
        ("rtcp", "53020"),
        ("rtcp-mux", None),
        ("crypto", f"1 AES_CM_128_HMAC_SHA1_80 inline:{'a' * 40}"),
        ("crypto", f"7 AEAD_AES_128_GCM inline:{'b' * 38}|2^20"),
        ("crypto", f"2 AES_CM_128_HMAC_SHA1_32 inline:{'c' * 40}|1:4"),
    ]
)
attributes: st.SearchStrategy[tuple[Attribute, ...]] = st.lists(
    st.one_of(known, st.tuples(names, st.one_of(st.none(), values))), max_size=6
).map(tuple)
formats = st.lists(st.one_of(st.sampled_from(["0", "8", "96", "97", "101"]), words), min_size=1, max_size=5).map(tuple)
medias = st.builds(
    Media,
    kind=st.sampled_from(["audio", "video", "image"]),
    port=ports,
    protocol=st.sampled_from(["RTP/AVP", "RTP/SAVP", "udptl"]),
    formats=formats,
    connection=st.one_of(st.none(), connections, st.just(Connection("IP4", "192.0.2.9"))),
    attributes=attributes,
    port_count=st.integers(1, 3),
)
descriptions = st.builds(
    Description,
    origin=st.builds(Origin, words, words, words, families, words),
    connection=st.one_of(st.none(), connections, st.just(Connection("IP4", "192.0.2.9"))),
    media=st.lists(medias, max_size=4).map(tuple),
    attributes=attributes,
    name=values,
    time=values,
)
locals_ = st.builds(
    LocalMedia,
    host=st.sampled_from(["192.0.2.1", "2001:db8::1"]),
    port=st.integers(1, 65_535),
    codecs=st.sampled_from([(Codec.PCMU,), (Codec.PCMA,), (Codec.PCMU, Codec.PCMA)]),
    ptime_ms=st.sampled_from([20, 30, 40]),
    direction=st.sampled_from(list(Direction)),
    dtmf=st.booleans(),
    rtcp_mux=st.booleans(),
    srtp=st.sampled_from(list(SrtpPolicy)),
    keys=st.sampled_from(
        [tuple(SrtpKey(suite, b"k" * suite.key_octets) for suite in PREFERENCE[skip:]) for skip in range(3)]
    ),
)


@settings(deadline=None)
@given(descriptions)
def test_written_and_read_again_it_is_equal(description: Description) -> None:
    assert parse(description.encode()) == description


@settings(deadline=None)
@given(st.sampled_from([b"", b"v=0\r\no=- 1 1 IN IP4 x\r\n"]), st.binary(max_size=200))
def test_no_bytes_raise_anything_but_sdp_error(head: bytes, tail: bytes) -> None:
    try:
        description = parse(head + tail)
    except SdpError:
        return
    assert parse(description.encode()) == description


@settings(deadline=None)
@given(descriptions, locals_, st.data())
def test_mutated_descriptions_raise_nothing_else(
    description: Description, local: LocalMedia, data: st.DataObject
) -> None:
    body = bytearray(description.encode())
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = parse(bytes(body))
        answer(read, local, 1, 1)
        accept(local, read)
    except (SdpError, NotAcceptable):
        return


@settings(deadline=None)
@given(descriptions, locals_)
def test_answer_mirrors_the_offer_line_by_line(offered: Description, local: LocalMedia) -> None:
    """RFC 3264 §6: as many lines, of the same kind and protocol; at most one is alive, and only if it was offered."""
    try:
        made = answer(offered, local, 1, 1)
    except NotAcceptable:
        return
    answered = parse(made.body)
    assert [(m.kind, m.protocol) for m in answered.media] == [(m.kind, m.protocol) for m in offered.media]
    alive = [(theirs, ours) for theirs, ours in zip(offered.media, answered.media, strict=True) if ours.port]
    assert len(alive) == (made.remote is not None)
    for theirs, ours in alive:
        assert theirs.port
        assert set(ours.formats) <= set(theirs.formats)


@settings(deadline=None)
@given(locals_, locals_)
def test_two_of_us_agree(caller: LocalMedia, callee: LocalMedia) -> None:
    """Both ends take the same codec, and what one sends the other receives."""
    try:
        made = answer(parse(offer(caller, 1, 1)), callee, 2, 1)
    except NotAcceptable:
        assert not set(caller.codecs) & set(callee.codecs) or {caller.srtp, callee.srtp} == {
            SrtpPolicy.FORBIDDEN,
            SrtpPolicy.REQUIRED,
        }
        return
    seen = accept(caller, parse(made.body))
    assert made.remote is not None
    assert (seen.codec, seen.payload_type, seen.dtmf_type) == (
        made.remote.codec,
        made.remote.payload_type,
        made.remote.dtmf_type,
    )
    assert (seen.srtp is None) == (made.remote.srtp is None) == (SrtpPolicy.FORBIDDEN in (caller.srtp, callee.srtp))
    if seen.srtp is not None and made.remote.srtp is not None:
        assert seen.srtp.suite is made.remote.srtp.suite
        assert seen.srtp.local_key == made.remote.srtp.remote_key
        assert seen.srtp.remote_key == made.remote.srtp.local_key
    mirror = {Direction.SENDONLY: Direction.RECVONLY, Direction.RECVONLY: Direction.SENDONLY}
    assert seen.direction is mirror.get(made.remote.direction, made.remote.direction)
