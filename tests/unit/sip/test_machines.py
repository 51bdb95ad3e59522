"""The four machines against the figures of RFC 3261 §17 and RFC 6026: every row, every timer."""

from collections.abc import Mapping

import pytest

from engine.sip import invite_client, invite_server, other_client, other_server
from engine.sip.invite_client import InviteClient
from engine.sip.invite_server import InviteServer
from engine.sip.machine import NEVER, TERMINATED, Do, Machine, Timers
from engine.sip.other_client import OtherClient
from engine.sip.other_server import OtherServer


def live(machine: Machine, until: float = 1000.0) -> list[tuple[float, Do]]:
    """What its timers do from now to the end, each with the time at which it fired."""
    fired = []
    while machine.deadline <= until:
        now = machine.deadline
        fired.append((round(now, 6), machine.tick(now)))
    return fired


def resends(fired: list[tuple[float, Do]]) -> list[float]:
    return [time for time, do in fired if do is Do.RESEND]


class TestInviteServer:
    State, In = invite_server.State, invite_server.In

    def test_unacknowledged_486_is_retransmitted_until_timer_h(self) -> None:
        """§17.2.1: G doubles from T1 up to T2; H ends it at 64*T1 = 32 s."""
        machine = InviteServer(0.0)
        assert machine.feed(self.In.SEND_FAILURE, 0.0) is Do.SEND
        fired = live(machine)
        assert resends(fired) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        assert fired[-1] == (32.0, Do.TIMED_OUT)
        assert machine.state == TERMINATED
        assert machine.deadline == NEVER

    def test_ack_stops_g_and_timer_i_absorbs_further_ones(self) -> None:
        machine = InviteServer(0.0)
        machine.feed(self.In.SEND_FAILURE, 0.0)
        assert machine.feed(self.In.ACK, 0.7) is Do.NOTHING
        assert machine.state == self.State.CONFIRMED
        assert machine.feed(self.In.ACK, 0.8) is Do.NOTHING
        assert machine.feed(self.In.INVITE, 0.9) is Do.NOTHING
        assert live(machine) == [(5.7, Do.NOTHING)]
        assert machine.state == TERMINATED

    def test_reliable_transport_sends_no_486_again_and_needs_no_timer_i(self) -> None:
        machine = InviteServer(0.0, reliable=True)
        machine.feed(self.In.SEND_FAILURE, 0.0)
        assert machine.deadline == 32.0
        machine.feed(self.In.ACK, 1.0)
        assert machine.state == TERMINATED

    @pytest.mark.parametrize("reliable", [False, True])
    def test_accepted_absorbs_invites_and_passes_acks_for_timer_l(self, reliable: bool) -> None:
        """RFC 6026 §7.1: L is 64*T1 on every transport."""
        machine = InviteServer(1.0, reliable)
        assert machine.feed(self.In.SEND_2XX, 1.0) is Do.SEND
        assert machine.feed(self.In.INVITE, 1.5) is Do.NOTHING
        assert machine.feed(self.In.ACK, 1.6) is Do.PASS
        assert machine.feed(self.In.SEND_2XX, 1.7) is Do.SEND
        assert live(machine) == [(33.0, Do.NOTHING)]
        assert machine.state == TERMINATED

    def test_silent_user_makes_a_100_after_200_ms(self) -> None:
        machine = InviteServer(0.0)
        assert live(machine, until=0.2) == [(0.2, Do.TRYING)]
        assert machine.state == self.State.PROCEEDING
        assert machine.deadline == NEVER

    def test_provisional_of_the_user_makes_the_100_needless(self) -> None:
        machine = InviteServer(0.0)
        assert machine.feed(self.In.SEND_1XX, 0.1) is Do.SEND
        assert machine.deadline == NEVER
        assert machine.feed(self.In.INVITE, 0.5) is Do.RESEND

    def test_retransmitted_invite_gets_the_486_again(self) -> None:
        machine = InviteServer(0.0)
        machine.feed(self.In.SEND_FAILURE, 0.0)
        assert machine.feed(self.In.INVITE, 0.3) is Do.RESEND
        assert machine.deadline == 0.5

    def test_second_final_response_is_absorbed(self) -> None:
        machine = InviteServer(0.0)
        machine.feed(self.In.SEND_FAILURE, 0.0)
        assert machine.feed(self.In.SEND_2XX, 0.1) is Do.NOTHING


class TestInviteClient:
    State, In = invite_client.State, invite_client.In

    def test_unanswered_invite_is_retransmitted_until_timer_b(self) -> None:
        """§17.1.1.2: A doubles without limit; B ends it at 64*T1."""
        machine = InviteClient(0.0)
        fired = live(machine)
        assert resends(fired) == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
        assert fired[-1] == (32.0, Do.TIMED_OUT)
        assert machine.state == TERMINATED

    def test_reliable_transport_only_waits(self) -> None:
        assert live(InviteClient(0.0, reliable=True)) == [(32.0, Do.TIMED_OUT)]

    def test_provisional_stops_both_timers(self) -> None:
        machine = InviteClient(0.0)
        assert machine.feed(self.In.PROVISIONAL, 0.1) is Do.PASS
        assert machine.deadline == NEVER
        assert machine.feed(self.In.PROVISIONAL, 9.0) is Do.PASS

    @pytest.mark.parametrize("provisional", [False, True])
    def test_failure_is_acknowledged_as_often_as_it_comes_for_timer_d(self, provisional: bool) -> None:
        machine = InviteClient(0.0)
        if provisional:
            machine.feed(self.In.PROVISIONAL, 0.5)
        assert machine.feed(self.In.FAILURE, 1.0) is Do.ACK_PASS
        assert machine.feed(self.In.FAILURE, 1.5) is Do.ACK
        assert machine.feed(self.In.SUCCESS, 1.6) is Do.NOTHING
        assert live(machine) == [(33.0, Do.NOTHING)]
        assert machine.state == TERMINATED

    def test_timer_d_is_zero_on_reliable_transport(self) -> None:
        machine = InviteClient(0.0, reliable=True)
        assert machine.feed(self.In.FAILURE, 1.0) is Do.ACK_PASS
        assert machine.state == TERMINATED

    @pytest.mark.parametrize("reliable", [False, True])
    def test_every_2xx_is_passed_for_timer_m(self, reliable: bool) -> None:
        """RFC 6026 §7.2."""
        machine = InviteClient(0.0, reliable)
        assert machine.feed(self.In.SUCCESS, 1.0) is Do.PASS
        assert machine.feed(self.In.SUCCESS, 2.0) is Do.PASS
        assert machine.feed(self.In.FAILURE, 2.5) is Do.NOTHING
        assert live(machine) == [(33.0, Do.NOTHING)]

    def test_cancelled_invite_without_final_response_is_given_up(self) -> None:
        """§9.1."""
        machine = InviteClient(0.0)
        machine.feed(self.In.PROVISIONAL, 0.1)
        machine.feed(self.In.CANCEL, 2.0)
        assert machine.feed(self.In.PROVISIONAL, 2.5) is Do.PASS
        assert live(machine) == [(34.0, Do.TIMED_OUT)]

    def test_cancelled_invite_may_still_be_answered(self) -> None:
        machine = InviteClient(0.0)
        machine.feed(self.In.PROVISIONAL, 0.1)
        machine.feed(self.In.CANCEL, 2.0)
        assert machine.feed(self.In.SUCCESS, 2.1) is Do.PASS
        assert machine.state == self.State.ACCEPTED

    def test_transport_error_of_the_ack_is_no_second_outcome(self) -> None:
        machine = InviteClient(0.0)
        machine.feed(self.In.FAILURE, 0.1)
        assert machine.feed(self.In.TRANSPORT_ERROR, 0.2) is Do.NOTHING
        assert machine.state == TERMINATED

    @pytest.mark.parametrize("heard", [[], [1], [1, 4]])
    def test_transport_error_is_told(self, heard: list[int]) -> None:
        machine = InviteClient(0.0)
        for what in heard:
            machine.feed(what, 0.1)
        assert machine.feed(self.In.TRANSPORT_ERROR, 0.2) is Do.TRANSPORT
        assert machine.state == TERMINATED


class TestOtherClient:
    State, In = other_client.State, other_client.In

    def test_unanswered_request_is_retransmitted_until_timer_f(self) -> None:
        """§17.1.2.2: E doubles up to T2; F ends it at 64*T1."""
        fired = live(OtherClient(0.0))
        assert resends(fired) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        assert fired[-1] == (32.0, Do.TIMED_OUT)

    def test_provisional_slows_e_to_t2_and_leaves_f(self) -> None:
        machine = OtherClient(0.0)
        assert machine.feed(self.In.PROVISIONAL, 0.1) is Do.PASS
        fired = live(machine)
        assert resends(fired) == [0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
        assert fired[-1] == (32.0, Do.TIMED_OUT)

    def test_final_is_passed_once_and_timer_k_absorbs_more(self) -> None:
        machine = OtherClient(0.0)
        assert machine.feed(self.In.FINAL, 1.0) is Do.PASS
        assert machine.feed(self.In.FINAL, 2.0) is Do.NOTHING
        assert live(machine) == [(6.0, Do.NOTHING)]

    def test_reliable_transport_has_neither_e_nor_k(self) -> None:
        machine = OtherClient(0.0, reliable=True)
        assert machine.deadline == 32.0
        machine.feed(self.In.PROVISIONAL, 0.1)
        assert machine.deadline == 32.0
        machine.feed(self.In.FINAL, 1.0)
        assert machine.state == TERMINATED

    def test_late_tick_does_not_catch_up_in_a_burst(self) -> None:
        machine = OtherClient(0.0)
        assert machine.tick(10.0) is Do.RESEND
        assert machine.deadline == 11.0


class TestOtherServer:
    State, In = other_server.State, other_server.In

    def test_retransmission_before_any_response_is_dropped(self) -> None:
        assert OtherServer(0.0).feed(self.In.REQUEST, 0.5) is Do.NOTHING

    def test_retransmission_gets_the_latest_response_for_timer_j(self) -> None:
        """§17.2.2."""
        machine = OtherServer(0.0)
        assert machine.feed(self.In.SEND_1XX, 0.1) is Do.SEND
        assert machine.feed(self.In.REQUEST, 0.5) is Do.RESEND
        assert machine.feed(self.In.SEND_FINAL, 1.0) is Do.SEND
        assert machine.feed(self.In.REQUEST, 1.5) is Do.RESEND
        assert machine.feed(self.In.SEND_FINAL, 1.6) is Do.NOTHING
        assert live(machine) == [(33.0, Do.NOTHING)]

    def test_timer_j_is_zero_on_reliable_transport(self) -> None:
        machine = OtherServer(0.0, reliable=True)
        assert machine.feed(self.In.SEND_FINAL, 1.0) is Do.SEND
        assert machine.state == TERMINATED

    def test_request_that_is_never_answered_leaves_nothing(self) -> None:
        machine = OtherServer(0.0)
        machine.feed(self.In.SEND_1XX, 1.0)
        assert live(machine) == [(32.0, Do.NOTHING)]
        assert machine.state == TERMINATED


MACHINES = [InviteServer, InviteClient, OtherServer, OtherClient]


@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_can_be_reached_and_left(machine: type[Machine]) -> None:
    states = {state for state, _ in machine.table} | {state for state, _ in machine.table.values()}
    entered = {state for (before, _), (state, _) in machine.table.items() if state != before}
    assert states - entered == {1}, "only the first state is not entered from another"
    assert all(
        any(before == s and after != s for (before, _), (after, _) in machine.table.items()) for s in states - {0}
    )


@pytest.mark.parametrize("machine", MACHINES)
def test_every_timer_input_belongs_to_a_state_that_arms_it(machine: type[Machine]) -> None:
    fires: Mapping[int, tuple[int, int]] = machine.fires
    for state, inputs in fires.items():
        assert all(what == 0 or (state, what) in machine.table for what in inputs)


def test_timers_follow_their_parameters() -> None:
    fired = live(OtherClient(0.0, timers=Timers(t1=0.1, t2=0.4, t4=1.0)))
    assert resends(fired)[:5] == [0.1, 0.3, 0.7, 1.1, 1.5]
    assert fired[-1] == (6.4, Do.TIMED_OUT)
