# Conferences: up to MEMBERS legs, each hearing those that its mask names; mixed anew for each listener every 20 ms.

cdef inline Ear *ear_of(Media *m, Leg *leg) noexcept nogil:
    return &m.ears[leg.id & 0xFFFF]


cdef void anchor_ear(Ear *ear, uint32_t ssrc, uint32_t timestamp) noexcept nogil:
    """Begin anew, two frames before this packet is played: two to three frames of jitter are borne."""
    memset(ear.present, 0, EAR)
    ear.started = 1
    ear.ssrc = ssrc
    ear.next = timestamp - EAR_DELAY


cdef void listen(Media *m, Leg *leg, uint8_t *codes, uint32_t size, uint8_t codec, uint32_t timestamp,
                 bint marker) noexcept nogil:
    """Put a packet of a member where its timestamp belongs. One too late, or too far ahead, moves the place of all
    that follow: the sender's clock has jumped, or has run away from ours."""
    cdef Ear *ear = ear_of(m, leg)
    cdef int32_t ahead = <int32_t>(timestamp - ear.next)
    cdef int16_t *linear = m.linear[codec]
    cdef uint32_t i, at
    if size > EAR_AHEAD:
        return
    if not ear.started or ear.ssrc != leg.ssrc or ahead > EAR_AHEAD:
        anchor_ear(ear, leg.ssrc, timestamp)
    elif marker and not MIX_FRAME <= ahead <= EAR_DELAY + MIX_FRAME:
        anchor_ear(ear, leg.ssrc, timestamp)
    elif ahead + <int32_t>size <= 0:
        ear.late += 1
        if ear.late < EAR_LATE:
            return
        anchor_ear(ear, leg.ssrc, timestamp)
    ear.late = 0
    ahead = <int32_t>(timestamp - ear.next)
    for i in range(size):
        if ahead + <int32_t>i >= 0:
            at = (timestamp + i) & (EAR - 1)
            ear.ring[at] = linear[codes[i]]
            ear.present[at] = 1


cdef void take_frame(Ear *ear, int16_t *out) noexcept nogil:
    """The next 20 ms. What did not come is the last whole frame again, fading away within three."""
    cdef uint32_t i, at, missing = 0
    cdef int32_t gain
    if not ear.started:
        memset(out, 0, 2 * MIX_FRAME)
        return
    gain = 192 if ear.lost == 0 else 96 if ear.lost == 1 else 0
    for i in range(MIX_FRAME):
        at = (ear.next + i) & (EAR - 1)
        if ear.present[at]:
            out[i] = ear.ring[at]
            ear.present[at] = 0
        else:
            out[i] = <int16_t>((ear.last[i] * gain) >> 8)
            missing += 1
    if missing == 0:
        ear.lost = 0
        memcpy(ear.last, out, 2 * MIX_FRAME)
    elif ear.lost < 3:
        ear.lost += 1
    ear.next += MIX_FRAME


cdef void leave(Media *m, Leg *leg) noexcept nogil:
    """Out of its conference, which goes on without it."""
    cdef Conference *conference
    if leg.conference < 0:
        return
    conference = &m.conferences[leg.conference]
    conference.slots[leg.member] = -1
    conference.members -= 1
    leg.conference = -1
    leg.unheeded = 0


cdef int32_t free_conference(Media *m) noexcept nogil:
    cdef uint32_t i = 0
    while m.conferences[i].members:  # there is one for each leg
        i += 1
    m.conferences_top = max(m.conferences_top, i + 1)
    return <int32_t>i


cdef void do_mix(Media *m, Party *party, uint32_t count) noexcept nogil:
    """These legs alone are a conference from now on. Who was in one with them stays behind, alone; who joins from
    elsewhere begins with an empty jitter buffer, who was in one already goes on."""
    cdef Conference *conference
    cdef Leg *leg
    cdef int32_t index
    cdef int64_t due = -1
    cdef uint32_t i, heard = 0
    for i in range(count):
        heard |= party.hears[i]
        leg = leg_of(m, party.ports[i])
        if leg == NULL:
            continue
        if leg.conference < 0:
            memset(ear_of(m, leg), 0, sizeof(Ear))
        elif due < 0:
            due = m.conferences[leg.conference].due
        part(m, leg)
    index = free_conference(m)
    conference = &m.conferences[index]
    conference.count = count
    conference.due = due if due >= 0 else m.tick + 1 + (index % 20 + 19 - m.tick % 20) % 20
    for i in range(count):
        leg = leg_of(m, party.ports[i])
        conference.slots[i] = -1
        conference.hears[i] = party.hears[i]
        if leg != NULL and leg.conference < 0:
            conference.slots[i] = <int32_t>(leg - m.legs)
            conference.members += 1
            leg.conference = index
            leg.member = i
            leg.unheeded = not (heard >> i) & 1


cdef void send_mix(Media *m, Leg *leg, int32_t *sum) noexcept nogil:
    cdef uint8_t *payload = m.buffer + 64
    cdef uint8_t *code = m.code[leg.far.codec]
    cdef uint32_t i, stamp = leg.sent_timestamp + leg.sent_length, marker = 0
    if leg.source != MIX:
        leg.source = MIX
        stamp = fresh_timestamp(m, leg)
        marker = 0x80
    for i in range(MIX_FRAME):
        payload[i] = code[max(-32768, min(32767, sum[i])) + 32768]
    transmit(m, leg, payload, MIX_FRAME, leg.far.payload_type | marker, <uint16_t>(leg.sent_sequence + 1), stamp,
             MIX_FRAME)


cdef void mix_frame(Media *m, Conference *conference, bint stale) noexcept nogil:
    cdef int16_t frames[MEMBERS][MIX_FRAME]
    cdef int32_t sum[MIX_FRAME]
    cdef uint32_t i, j, k
    cdef Leg *leg
    for i in range(conference.count):
        if conference.slots[i] >= 0:
            take_frame(&m.ears[conference.slots[i]], frames[i])
    for i in range(conference.count):
        if conference.slots[i] < 0:
            continue
        leg = &m.legs[conference.slots[i]]
        if stale or leg.playing or leg.key_sending or not may_send(leg):
            leg.source = NOTHING if leg.source == MIX else leg.source
            continue
        memset(sum, 0, sizeof(sum))
        for j in range(conference.count):
            if j != i and conference.slots[j] >= 0 and (conference.hears[i] >> j) & 1:
                for k in range(MIX_FRAME):
                    sum[k] += frames[j][k]
        send_mix(m, leg, sum)


cdef void mix_due(Media *m, Conference *conference) noexcept nogil:
    """Every 20 ms; what a long stall has missed is not sent any more."""
    while conference.due <= m.tick:
        mix_frame(m, conference, m.now_ms - conference.due > CATCH_UP_MS)
        conference.due += 20
