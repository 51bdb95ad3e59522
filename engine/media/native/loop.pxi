# The media thread: commands, datagrams, ticks.

cdef inline Leg *leg_of(Media *m, uint32_t port) noexcept nogil:
    """The open leg with this id (slot and generation), or NULL for a stale one."""
    cdef uint32_t slot = port & 0xFFFF
    if slot >= m.limit or m.legs[slot].id != port or m.legs[slot].state != OPEN:
        return NULL
    return &m.legs[slot]


cdef void do_open(Media *m, Leg *leg) noexcept nogil:
    cdef uint32_t slot = <uint32_t>(leg - m.legs)
    leg.state = OPEN
    leg.opened = m.now
    leg.report_next = m.now_ms + 2500 + leg.chance % 2500
    m.live[slot] = 1
    m.top = max(m.top, slot + 1)
    m.open_legs += 1
    cw_watch(m.epoll, leg.rtp_fd, <uint64_t>leg.id << 1)
    cw_watch(m.epoll, leg.rtcp_fd, (<uint64_t>leg.id << 1) | 1)


cdef void do_connect(Media *m, Leg *leg, Far *far) noexcept nogil:
    cdef Far before = leg.far
    cdef bint moved = not leg.connected or not same_address(&leg.signalled, &far.rtp)
    leg.far = far[0]
    if far.inbound != before.inbound:
        leg.source_count = 0
    if far.outbound != NULL and leg.packets_sent == 0:
        leg.sent_sequence &= 0x7FFF  # RFC 3711 §3.3.1: loss at the beginning must not hide a roll-over
    if not leg.connected or not (before.receives and before.sends):
        leg.heard_ms = m.now_ms
        leg.timed_out = 0
    if moved:
        leg.signalled = far.rtp
        leg.unheard = 1
    if moved or (far.receives and not before.receives):
        leg.latching = leg.unheard and far.latch and far.receives
        leg.candidate_packets = 0
        leg.connected_ms = m.now_ms
    elif not far.receives:
        leg.latching = 0
    if not moved:
        leg.far.rtp = before.rtp
        leg.far.rtcp = before.rtcp
    leg.connected = 1
    leg.any_ssrc_until_ms = m.now_ms + CATCH_UP_MS * 10


cdef void do_play(Media *m, Leg *leg, Command *command) noexcept nogil:
    cdef uint32_t slot = leg.id & 0xFFFF, i
    cdef uint64_t total = 0
    end_play(m, leg, False)
    leg.play_id = command.value
    leg.played = leg.clip_index = leg.clip_position = 0
    leg.clip_count = command.count
    for i in range(command.count):
        leg.clips[i] = command.listed.clips[i]
        total += m.clips[command.listed.clips[i]].length
    leg.loops = command.flags & 1
    leg.barge_in = (command.flags >> 1) & 1
    leg.playing = 1
    leg.source = NOTHING
    if total == 0:
        end_play(m, leg, command.flags & 4 == 0)
    # 20 phases, so that streams do not leave in one burst
    leg.play_next = m.tick + 1 + (slot + 19 - m.tick % 20) % 20


cdef void part(Media *m, Leg *leg) noexcept nogil:
    """From its partner, or out of its conference."""
    leave(m, leg)
    if leg.peer >= 0:
        m.legs[leg.peer].peer = -1
        leg.peer = -1


cdef void do_close(Media *m, Leg *leg) noexcept nogil:
    end_play(m, leg, False)
    part(m, leg)
    end_recording(m, leg)
    c_close(leg.rtp_fd)
    c_close(leg.rtcp_fd)
    leg.rtp_fd = leg.rtcp_fd = -1
    leg.state = CLOSING
    close_due(m, leg)


cdef void close_due(Media *m, Leg *leg) noexcept nogil:
    if leg.unwritten == 0 and tell(m, E_PORT_CLOSED, leg.id, 0, 0, 0):
        m.live[leg.id & 0xFFFF] = 0
        m.open_legs -= 1


cdef void do_key(Media *m, Leg *leg, uint32_t event, uint32_t duration_ms) noexcept nogil:
    if leg.key_count < DTMF_QUEUE:
        leg.keys[leg.key_count] = <uint8_t>event
        leg.key_lengths[leg.key_count] = <uint16_t>duration_ms
        leg.key_count += 1


cdef void do_bridge(Media *m, Leg *leg, Leg *other) noexcept nogil:
    if leg != NULL and other != NULL and leg != other:
        part(m, leg)
        part(m, other)
        leg.peer = <int32_t>(other - m.legs)
        other.peer = <int32_t>(leg - m.legs)


cdef void do_record(Media *m, Command *command) noexcept nogil:
    if all_there(m, &command.listed.party, command.count):
        begin_recording(m, command.recording, &command.listed.party, command.count)
    else:
        refuse_recording(m, command.recording, command.port)


cdef void refuse_recording(Media *m, Recording *rec, uint32_t port) noexcept nogil:
    """A leg closed before the recording began: the file stays empty and whole."""
    c_close(rec.fd)
    rec.state = UNUSED
    tell(m, E_RECORDING_DONE, port, rec.token, 0, 0)


cdef void obey(Media *m, Command *command) noexcept nogil:
    cdef Leg *leg
    if command.kind == C_OPEN:
        do_open(m, &m.legs[command.port & 0xFFFF])
        return
    if command.kind == C_MIX:
        do_mix(m, &command.listed.party, command.count)
        return
    leg = leg_of(m, command.port)
    if command.kind == C_BRIDGE:
        do_bridge(m, leg, leg_of(m, command.other))
    elif command.kind == C_RECORD:
        do_record(m, command)
    elif leg == NULL:
        if command.kind == C_PLAY:
            tell(m, E_PLAY_DONE, command.port, command.value, 0, 0)
    elif command.kind == C_CONNECT:
        do_connect(m, leg, &command.far)
    elif command.kind == C_PLAY:
        do_play(m, leg, command)
    elif command.kind == C_STOP:
        end_play(m, leg, False)
    elif command.kind == C_UNBRIDGE:
        part(m, leg)
    elif command.kind == C_STOP_RECORDING:
        end_recording(m, leg)
    elif command.kind == C_SEND_DTMF:
        do_key(m, leg, command.count, command.flags)
    elif command.kind == C_CLOSE:
        do_close(m, leg)


cdef void obey_all(Media *m) noexcept nogil:
    cdef Command *command = next_command(m)
    cdef uint32_t done = 0
    while command != NULL and done < COMMANDS_A_TURN:
        if not m.ticking:
            m.ticking = 1
            m.tick = m.now_ms
            if not m.stepped:
                cw_ticking(m.timer, 1)
        obey(m, command)
        taken(m)
        done += 1
        command = next_command(m)
    if command != NULL:
        wake(m.command_fd)  # the rest in the next turn, after the packets that wait
    if m.ticking and m.open_legs == 0:
        m.ticking = 0
        cw_ticking(m.timer, 0)


cdef void visit(Media *m, Leg *leg) noexcept nogil:
    if leg.state == CLOSING:
        close_due(m, leg)
        return
    if leg.key_count:
        key_due(m, leg)
    if leg.playing:
        play_due(m, leg)
    # on hold, by either side, a phone may well be silent
    if (leg.timeout_ms and not leg.timed_out and leg.connected and leg.far.receives and leg.far.sends
            and m.now_ms - leg.heard_ms > leg.timeout_ms):
        leg.timed_out = tell(m, E_RTP_TIMEOUT, leg.id, 0, 0, (m.now_ms - leg.heard_ms) / 1000.0)
    if leg.report_next <= m.tick:
        report_due(m, leg)


cdef void run_ticks(Media *m) noexcept nogil:
    """Each millisecond a tenth of the legs."""
    cdef uint32_t slot
    if not m.ticking:
        return
    if m.tick < m.now_ms:
        m.late = max(m.late, m.now - (m.tick + 1) * 1000000)
    while m.tick < m.now_ms:
        m.tick += 1
        slot = <uint32_t>(m.tick % VISIT_MS)
        while slot < m.top:
            if m.live[slot]:
                visit(m, &m.legs[slot])
            slot += VISIT_MS
        slot = <uint32_t>(m.tick % VISIT_MS)
        while slot < m.recordings_top:
            if m.recordings[slot].state != UNUSED:
                visit_recording(m, &m.recordings[slot])
            slot += VISIT_MS
        slot = <uint32_t>(m.tick % VISIT_MS)
        while slot < m.conferences_top:
            if m.conferences[slot].members:
                mix_due(m, &m.conferences[slot])
            slot += VISIT_MS


cdef void dispatch(Media *m, uint64_t tag) noexcept nogil:
    cdef Leg *leg
    if tag == TIMER_TAG:
        hush(m.timer)
    elif tag == COMMAND_TAG:
        hush(m.command_fd)
    else:
        leg = leg_of(m, <uint32_t>(tag >> 1))
        if leg == NULL:
            return
        if tag & 1:
            on_rtcp(m, leg)
        else:
            on_rtp(m, leg)


cdef int turn(Media *m, int64_t now, int timeout_ms) noexcept nogil:
    """One round: wait, obey, receive, tick. now < 0: read the clock. Returns how many descriptors were ready."""
    cdef epoll_event ready[BATCH]
    cdef uint64_t told = m.event_head
    cdef int i, count = epoll_wait(m.epoll, ready, BATCH, timeout_ms)
    m.now = now if now >= 0 else cw_now()
    m.now_ms = m.now // 1000000
    obey_all(m)
    for i in range(count):
        dispatch(m, ready[i].data.u64)
    run_ticks(m)
    if m.event_head != told:
        wake(m.event_fd)
    return max(count, 0)
