# RTCP (RFC 3550 §6.4): our SR or RR with a CNAME about every five seconds, and what the peer's reports tell.

cdef bint whole(uint8_t *packet, uint32_t size) noexcept nogil:
    """§A.2: begins with SR or RR, and the lengths of the parts add up to the datagram."""
    cdef uint32_t at = 0
    if size < 8 or packet[0] & 0x20 or (packet[1] != 200 and packet[1] != 201):
        return False
    while at + 4 <= size:
        if packet[at] >> 6 != 2:
            return False
        at += 4 + 4 * get16(packet + at + 2)
    return at == size


cdef void measure_round_trip(Media *m, Leg *leg, uint32_t last_sr, uint32_t delay) noexcept nogil:
    """§6.4.1: arrival - LSR - DLSR, in 1/65536 s. A time that can't be is the peer's mistake, and is not taken."""
    cdef uint64_t wall = <uint64_t>(m.now + m.wall_offset)
    cdef uint32_t seconds = <uint32_t>(wall // 1000000000 + <uint64_t>2208988800)
    cdef uint32_t fraction = <uint32_t>(((wall % 1000000000) << 16) // 1000000000)
    cdef uint32_t trip = (seconds << 16) + fraction - last_sr - delay
    if last_sr and trip < LONGEST_ROUND_TRIP:
        leg.round_trip = trip


cdef void on_report(Media *m, Leg *leg, uint8_t *packet, uint32_t size, Address *origin) noexcept nogil:
    cdef uint32_t start = 8, end, i
    cdef uint8_t *block
    cdef int32_t lost
    cdef long protected = size
    if leg.far.inbound != NULL:
        if not unlocked(m, leg, packet, &protected, True):
            return
        size = <uint32_t>protected
    if size > BUFFER or not whole(packet, size):
        m.packets_dropped += 1
        return
    end = 4 + 4 * get16(packet + 2)
    if leg.has_ssrc and get32(packet + 4) != leg.ssrc:
        leg.strangers += 1
        m.strangers += 1
        return
    if packet[1] == 200:
        start = 28
    if start + 24 * (packet[0] & 31) > end:
        m.packets_dropped += 1
        return
    leg.heard_ms = m.now_ms
    leg.timed_out = 0
    if leg.has_ssrc and leg.far.latch and not leg.far.mux:
        leg.far.rtcp = origin[0]  # same host, same SSRC: a NAT's port for the peer's RTCP
    if packet[1] == 200:
        leg.last_sr = (get16(packet + 10) << 16) | get16(packet + 12)
        leg.last_sr_ms = m.now_ms
    for i in range(packet[0] & 31):
        block = packet + start + 24 * i
        if get32(block) == leg.own_ssrc:
            lost = <int32_t>(get32(block + 4) & 0xFFFFFF)
            leg.remote_lost = lost - 0x1000000 if lost & 0x800000 else lost
            leg.remote_jitter = get32(block + 12)
            measure_round_trip(m, leg, get32(block + 16), get32(block + 20))


cdef void on_rtcp(Media *m, Leg *leg) noexcept nogil:
    cdef Address origin
    cdef long got = cw_receive(leg.rtcp_fd, m.buffer, BUFFER, origin.raw, &origin.size)
    if got < 0 or was_stun(m, leg, m.buffer, got):
        return
    if not leg.connected or not same_host(&origin, &leg.far.rtcp):
        leg.strangers += 1
        m.strangers += 1
        return
    on_report(m, leg, m.buffer, <uint32_t>min(got, BUFFER + 1), &origin)


cdef uint32_t put_block(Media *m, Leg *leg, uint8_t *at) noexcept nogil:
    """Our report block on the leg's source (24 octets)."""
    cdef uint32_t expected = leg.cycles + leg.highest - leg.base + 1
    cdef int32_t lost = <int32_t>(expected - leg.received)
    cdef int32_t due = <int32_t>(expected - leg.previous_expected)
    cdef int32_t missing = due - <int32_t>(leg.received - leg.previous_received)
    cdef uint32_t fraction = 0
    if due > 0 and missing > 0:
        fraction = min(<uint32_t>255, (<uint32_t>missing << 8) // <uint32_t>due)
    leg.previous_expected = expected
    leg.previous_received = leg.received
    put32(at, leg.ssrc)
    put32(at + 4, (fraction << 24) | (<uint32_t>max(-0x800000, min(0x7FFFFF, lost)) & 0xFFFFFF))
    put32(at + 8, leg.cycles + leg.highest)
    put32(at + 12, leg.jitter >> 4)
    put32(at + 16, leg.last_sr)
    put32(at + 20, <uint32_t>((m.now_ms - leg.last_sr_ms) * 65536 // 1000) if leg.last_sr else 0)
    return 24


cdef uint32_t put_sender(Media *m, Leg *leg, uint8_t *at) noexcept nogil:
    """Sender info of an SR (20 octets)."""
    cdef uint64_t wall = <uint64_t>(m.now + m.wall_offset)
    put32(at, <uint32_t>(wall // 1000000000 + <uint64_t>2208988800))
    put32(at + 4, <uint32_t>(((wall % 1000000000) << 32) // 1000000000))
    put32(at + 8, leg.base_timestamp + <uint32_t>((m.now - leg.opened) // 125000))
    put32(at + 12, leg.packets_sent)
    put32(at + 16, leg.octets_sent)
    return 20


cdef uint32_t put_cname(Leg *leg, uint8_t *at) noexcept nogil:
    """SDES with the CNAME alone (28 octets)."""
    at[0] = 0x81
    at[1] = 202
    put16(at + 2, 6)
    put32(at + 4, leg.own_ssrc)
    at[8] = 1
    at[9] = 16
    memcpy(at + 10, leg.cname, 16)
    at[26] = at[27] = 0
    return 28


cdef void report_due(Media *m, Leg *leg) noexcept nogil:
    cdef uint8_t *packet = m.buffer
    cdef uint32_t size = 8
    cdef int total
    cdef bint sender = leg.packets_sent != leg.reported_sent
    if leg.report_next > m.tick:
        return
    leg.chance = leg.chance * 1664525 + 1013904223
    leg.report_next = m.tick + 4000 + (leg.chance >> 16) % 2001
    if not leg.connected or leg.far.rtcp.size == 0 or not (leg.packets_sent or leg.has_ssrc):
        return
    leg.reported_sent = leg.packets_sent
    if sender:
        size += put_sender(m, leg, packet + size)
    if leg.has_ssrc:
        size += put_block(m, leg, packet + size)
    packet[0] = 0x81 if leg.has_ssrc else 0x80
    packet[1] = 200 if sender else 201
    put16(packet + 2, size // 4 - 1)
    put32(packet + 4, leg.own_ssrc)
    total = <int>(size + put_cname(leg, packet + size))
    if leg.far.outbound == NULL or m.protect_rtcp(leg.far.outbound, packet, &total) == 0:
        cw_send(leg.rtp_fd if leg.far.mux else leg.rtcp_fd, packet, total, leg.far.rtcp.raw, leg.far.rtcp.size)
