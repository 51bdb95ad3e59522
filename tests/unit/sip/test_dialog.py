"""Dialogs: what is remembered, and the requests made from it (RFC 3261 §12)."""

from dataclasses import asdict, replace

import pytest

from engine.sip.dialog import Dialog, dialog_id, uac_dialog, uas_dialog
from engine.sip.grammar import BadHeader
from engine.sip.message import Headers, Request, Response, reply
from engine.sip.parse import parse

INVITE = (
    "INVITE sip:1001@example.net SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa\r\n"
    "Record-Route: <sip:p2.example.net;lr>, <sip:p1.example.net;lr>\r\n"
    'From: "Ann, A" <sip:ann@example.net>;tag=ta\r\n'
    "To: <sip:1001@example.net>\r\n"
    "Call-ID: c1\r\n"
    "CSeq: 7 INVITE\r\n"
    "Contact: <sip:ann@192.0.2.9:5062;ob>;expires=60\r\n"
    "Max-Forwards: 70\r\n\r\n"
)


def invite(text: str = INVITE) -> Request:
    message = parse(text.encode())
    assert isinstance(message, Request)
    return message


def answer(request: Request, status: int = 200, tag: str = "tb", contact: str = "<sip:b@192.0.2.1>") -> Response:
    response = reply(request, status, to_tag=tag)
    if contact:
        response.headers.add("Contact", contact)
    return response


def test_uas_and_uac_see_one_dialog_from_its_two_ends() -> None:
    request = invite()
    response = answer(request)
    uas, uac = uas_dialog(request, response), uac_dialog(request, response)
    assert uas.id == ("c1", "tb", "ta")
    assert uac.id == ("c1", "ta", "tb")
    assert uas.route_set == uac.route_set[::-1] == ["<sip:p2.example.net;lr>", "<sip:p1.example.net;lr>"]
    assert (uas.remote_target, uac.remote_target) == ("sip:ann@192.0.2.9:5062;ob", "sip:b@192.0.2.1")
    assert (uas.local_uri, uas.remote_uri) == (uac.remote_uri, uac.local_uri)
    assert (uas.remote_seq, uac.local_seq) == (7, 7)
    assert not uas.early


def test_requests_of_each_end_belong_to_the_dialog_of_the_other() -> None:
    request = invite()
    response = answer(request)
    uas, uac = uas_dialog(request, response), uac_dialog(request, response)
    for sender, receiver in ((uas, uac), (uac, uas)):
        made = sender.make("BYE")
        made.headers.prepend("Via", "SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKb")
        arrived = parse(made.encode())
        assert isinstance(arrived, Request)
        assert dialog_id(arrived) == receiver.id
        assert receiver.check(arrived) is None


def test_loose_routes_leave_the_target_in_the_request_uri() -> None:
    request = invite()
    made = uas_dialog(request, answer(request)).make("BYE")
    assert made.uri == "sip:ann@192.0.2.9:5062;ob"
    assert made.headers.elements("Route") == ["<sip:p2.example.net;lr>", "<sip:p1.example.net;lr>"]
    assert made.to.display == "Ann, A"
    assert made.headers.get("Contact") is None


def test_strict_first_route_becomes_the_request_uri() -> None:
    """§12.2.1.1: a router of RFC 2543 looks for itself there."""
    request = invite(INVITE.replace("<sip:p2.example.net;lr>", "<sip:p2.example.net;method=INVITE?x=y>"))
    dialog = uas_dialog(request, answer(request))
    made = dialog.make("BYE")
    assert made.uri == "sip:p2.example.net"
    assert made.headers.elements("Route") == ["<sip:p1.example.net;lr>", "<sip:ann@192.0.2.9:5062;ob>"]
    assert dialog.next_hop.host == "p2.example.net"


def test_without_routes_the_next_hop_is_the_target() -> None:
    request = invite(INVITE.replace("Record-Route: <sip:p2.example.net;lr>, <sip:p1.example.net;lr>\r\n", ""))
    dialog = uas_dialog(request, answer(request))
    assert (dialog.next_hop.host, dialog.next_hop.port) == ("192.0.2.9", 5062)
    assert "Route" not in dialog.make("BYE").headers


def test_cseq_rises_by_one_and_target_refreshing_requests_carry_contact() -> None:
    request = invite()
    dialog = uas_dialog(request, answer(request))
    assert [dialog.make("INFO").cseq.number for _ in range(2)] == [1, 2]
    again = dialog.make("INVITE", b"v=0\r\n")
    assert again.headers.get("Contact") == "<sip:b@192.0.2.1>"
    assert again.content_type == "application/sdp"


def test_ack_repeats_number_and_credentials_of_its_invite() -> None:
    """§13.2.2.4."""
    request = invite()
    request.headers.add("Proxy-Authorization", 'Digest username="a"')
    response = answer(request)
    dialog = uac_dialog(request, response)
    dialog.make("INFO")
    ack = dialog.ack(response, request)
    assert ack.cseq == (7, "ACK")
    assert ack.headers.get("Proxy-Authorization") == 'Digest username="a"'


def test_lower_cseq_is_refused_and_ack_is_not_counted() -> None:
    """§12.2.2."""
    request = invite()
    dialog = uas_dialog(request, answer(request))
    later = invite(INVITE.replace("7 INVITE", "9 INVITE"))
    assert dialog.check(later) is None
    assert dialog.check(invite(INVITE.replace("7 INVITE", "8 INVITE"))) == 500
    ack = Request("ACK", "sip:b@192.0.2.1", Headers([("CSeq", "7 ACK")]))
    assert dialog.check(ack) is None
    assert dialog.remote_seq == 9


def test_target_is_refreshed_by_a_readable_contact_only() -> None:
    request = invite()
    dialog = uas_dialog(request, answer(request))
    dialog.target_refresh(invite(INVITE.replace("192.0.2.9:5062;ob", "192.0.2.10")))
    assert dialog.remote_target == "sip:ann@192.0.2.10"
    for broken in ("<sip:[>", "*", "<tel:123>"):
        dialog.target_refresh(invite(INVITE.replace("<sip:ann@192.0.2.9:5062;ob>;expires=60", broken)))
        assert dialog.remote_target == "sip:ann@192.0.2.10"


def test_2xx_gives_the_early_dialog_its_final_routes() -> None:
    request = invite()
    ringing = answer(request, 180, contact="")
    dialog = uac_dialog(request, ringing)
    assert dialog.early
    assert dialog.remote_target == request.uri
    final = answer(request)
    final.headers.set("Record-Route", "<sip:p9.example.net;lr>")
    dialog.confirm(final)
    assert (dialog.early, dialog.route_set) == (False, ["<sip:p9.example.net;lr>"])
    assert dialog.remote_target == "sip:b@192.0.2.1"


@pytest.mark.parametrize(
    "change",
    [
        ("Contact: <sip:ann@192.0.2.9:5062;ob>;expires=60\r\n", ""),
        ("<sip:ann@192.0.2.9:5062;ob>;expires=60", "<mailto:ann@example.net>"),
        ("<sip:p1.example.net;lr>", "<sip:bad host>"),
    ],
)
def test_invite_that_cannot_be_routed_back_makes_no_dialog(change: tuple[str, str]) -> None:
    request = invite(INVITE.replace(*change))
    with pytest.raises(BadHeader):
        uas_dialog(request, answer(request))


def test_2xx_without_contact_makes_no_dialog() -> None:
    request = invite()
    with pytest.raises(BadHeader):
        uac_dialog(request, answer(request, contact=""))


def test_peer_without_tag() -> None:
    request = invite(INVITE.replace(";tag=ta", ""))
    dialog = uas_dialog(request, answer(request))
    assert dialog.remote_tag == ""
    assert dialog.make("BYE").to_tag is None


def test_plain_values_make_an_equal_dialog() -> None:
    request = invite()
    dialog = uas_dialog(request, answer(request))
    assert Dialog(**asdict(dialog)) == dialog == replace(dialog)
