# Packets that come: who sent them, what they tell, where they go.

cdef inline bint same_host(Address *a, Address *b) noexcept nogil:
    if a.size != b.size or a.size == 0:
        return False
    if a.size == 16:
        return memcmp(a.raw + 4, b.raw + 4, 4) == 0
    return memcmp(a.raw + 8, b.raw + 8, 16) == 0


cdef inline bint same_address(Address *a, Address *b) noexcept nogil:
    return a.raw[2] == b.raw[2] and a.raw[3] == b.raw[3] and same_host(a, b)


cdef void new_source(Leg *leg, uint32_t ssrc, uint32_t sequence) noexcept nogil:
    if leg.has_ssrc:
        leg.lost_before += <int64_t>leg.cycles + leg.highest - leg.base + 1 - leg.received
    leg.has_ssrc = 1
    leg.ssrc = ssrc
    leg.highest = leg.base = sequence
    leg.cycles = leg.received = leg.previous_expected = leg.previous_received = 0
    leg.has_bad = leg.has_transit = leg.has_key = 0
    leg.jitter = leg.last_sr = 0


cdef bint try_latch(Media *m, Leg *leg, Address *origin, uint32_t ssrc, uint32_t sequence) noexcept nogil:
    """Symmetric RTP (RFC 4961) with care: within the first seconds, when nothing came from the signalled address,
    three packets in sequence from one address with one SSRC make it the remote address."""
    cdef bint same = same_address(origin, &leg.candidate) and ssrc == leg.candidate_ssrc
    if not leg.latching or m.now_ms - leg.connected_ms > LATCH_MS:
        leg.latching = 0
        return False
    if not same or <uint16_t>(leg.candidate_sequence + 1) != sequence:
        if not same and leg.candidate_packets and m.now_ms - leg.candidate_ms < CATCH_UP_MS:
            return False  # the first to come is not pushed aside by another
        leg.candidate = origin[0]
        leg.candidate_ssrc = ssrc
        leg.candidate_packets = 0
    leg.candidate_sequence = <uint16_t>sequence
    leg.candidate_ms = m.now_ms
    leg.candidate_packets += 1
    if leg.candidate_packets < LATCH_PACKETS:
        return False
    leg.latching = leg.unheard = 0
    leg.far.rtp = origin[0]
    leg.far.rtcp = origin[0]
    if not leg.far.mux:
        put16(leg.far.rtcp.raw + 2, get16(origin.raw + 2) + 1)
    new_source(leg, ssrc, sequence)
    return True


cdef bint admit(Media *m, Leg *leg, Address *origin, uint32_t ssrc, uint32_t sequence) noexcept nogil:
    """Is this packet from the leg's own peer? Strangers are counted and get no answer."""
    if not same_address(origin, &leg.far.rtp):
        return try_latch(m, leg, origin, ssrc, sequence)
    leg.latching = leg.unheard = 0
    if not leg.has_ssrc:
        new_source(leg, ssrc, sequence)
    elif ssrc != leg.ssrc:
        if m.now_ms > leg.any_ssrc_until_ms and (
                m.now_ms - leg.ssrc_heard_ms < SSRC_SILENCE_MS or ssrc != leg.next_ssrc
                or <uint16_t>(leg.next_sequence + 1) != sequence):
            leg.next_ssrc = ssrc
            leg.next_sequence = <uint16_t>sequence
            return False
        new_source(leg, ssrc, sequence)
    return True


cdef void count(Media *m, Leg *leg, uint32_t sequence, uint32_t timestamp, bint timed) noexcept nogil:
    """RFC 3550 §A.1 and §A.8; as engine.rtp.jitter.Reception."""
    cdef uint32_t ahead = (sequence - leg.highest) & 0xFFFF, transit
    cdef int32_t distance
    leg.received += 1
    if ahead < 3000:
        if sequence < leg.highest:
            leg.cycles += 65536
        leg.highest = <uint16_t>sequence
    elif ahead <= 65536 - 100:
        if leg.has_bad and sequence == leg.bad:
            leg.highest = leg.base = <uint16_t>sequence
            leg.cycles = leg.has_bad = leg.previous_expected = leg.previous_received = 0
            leg.received = 1
        else:
            leg.bad = <uint16_t>(sequence + 1)
            leg.has_bad = 1
    if not timed:
        return
    transit = <uint32_t>(m.now // 125000) - timestamp
    if leg.has_transit:
        distance = <int32_t>(transit - leg.transit)
        if distance < 0:
            distance = -distance
        leg.jitter += <uint32_t>distance - ((leg.jitter + 8) >> 4)
        leg.jitter_max = max(leg.jitter_max, leg.jitter)
    leg.transit = transit
    leg.has_transit = 1


cdef void on_key(Media *m, Leg *leg, uint8_t *payload, uint32_t size, uint32_t timestamp) noexcept nogil:
    """RFC 4733: each press once, at its first packet; as engine.rtp.dtmf.Presses. Barge-in happens here."""
    cdef int32_t distance
    cdef bint same
    if size < 4 or payload[0] > 15:
        return
    distance = <int32_t>(timestamp - leg.key_timestamp)
    if leg.has_key and distance < 0:
        return
    same = leg.has_key and (distance == 0 or (distance == 0xFFFF and payload[0] == leg.key_event))
    leg.has_key = 1
    leg.key_event = payload[0]
    leg.key_timestamp = timestamp
    if same:
        return
    tell(m, E_DTMF, leg.id, payload[0], 0, 0)
    if leg.barge_in:
        end_play(m, leg, False)


cdef int strip(uint8_t *packet, int size) noexcept nogil:
    """Where the payload begins, with CSRC list, extension and padding checked; -1 for no RTP. Padding: see `padded`."""
    cdef int start
    if size < HEAD or packet[0] >> 6 != 2:
        return -1
    start = HEAD + 4 * (packet[0] & 15)
    if packet[0] & 0x10:
        if start + 4 > size:
            return -1
        start += 4 + 4 * <int>get16(packet + start + 2)
    return start if start <= size else -1


cdef inline int padded(uint8_t *packet, int start, int size) noexcept nogil:
    """Where the payload ends; -1 for wrong padding."""
    cdef int padding
    if not packet[0] & 0x20:
        return size
    padding = packet[size - 1]
    return size - padding if 0 < padding <= size - start else -1


cdef inline bint is_rtcp(uint8_t *packet) noexcept nogil:
    """RFC 5761 §4: RTCP on the RTP port."""
    return 192 <= packet[1] <= 223


cdef bint was_stun(Media *m, Leg *leg, uint8_t *packet, long size) noexcept nogil:
    """RFC 5389 §6, RFC 7983 §7: a peer that tries ICE asks whether we are there. Counted; it is not RTP of a stranger, no
    sign of life, and gets no answer."""
    if (size < STUN_HEAD or size > BUFFER or packet[0] > 3 or get32(packet + 4) != STUN_COOKIE
            or get16(packet + 2) + STUN_HEAD != size):
        return False
    leg.stun += 1
    m.stun += 1
    return True


cdef bint expected(Media *m, Leg *leg, Address *origin) noexcept nogil:
    """Is SRTP from there worth deciphering? As `admit` will decide, which sees only authentic packets."""
    if same_address(origin, &leg.far.rtp) or (leg.latching and m.now_ms - leg.connected_ms <= LATCH_MS):
        return True
    leg.strangers += 1
    m.strangers += 1
    return False


cdef bint unlocked(Media *m, Leg *leg, uint8_t *packet, long *size, bint rtcp) noexcept nogil:
    """Check tag and replay list, decipher in place and shorten to what was protected. What fails is counted, and is
    neither a sign of life nor a step towards latching. `packet` has a header."""
    cdef uint32_t ssrc = get32(packet + (4 if rtcp else 8)), i = 0
    cdef int length = <int>size[0]
    while i < leg.source_count and leg.sources[i] != ssrc:
        i += 1
    if (length > LONGEST_SRTP or length < HEAD or i == SOURCES
            or (m.unprotect_rtcp if rtcp else m.unprotect)(leg.far.inbound, packet, &length) != 0):
        leg.unauthenticated += 1
        return False
    if i == leg.source_count:
        leg.sources[i] = ssrc
        leg.source_count += 1
    size[0] = length
    return True


cdef bint opened(Media *m, Leg *leg, uint8_t *packet, long *size, Address *origin) noexcept nogil:
    """Of SRTP make RTP. False: there is nothing more to do with it. What has no RTP header stays as it is."""
    if is_rtcp(packet):
        if leg.far.mux and same_address(origin, &leg.far.rtp):
            on_report(m, leg, packet, <uint32_t>size[0], origin)
        return False
    return strip(packet, <int>size[0]) < 0 or (expected(m, leg, origin) and unlocked(m, leg, packet, size, False))


cdef inline int codec_of(Leg *leg, uint32_t kind) noexcept nogil:
    """The negotiated type, or a static one that the peer offered besides it; -1 for others."""
    if kind == leg.far.payload_type:
        return leg.far.codec
    if kind == 0:
        return PCMU
    return PCMA if kind == 8 else -1


cdef void on_rtp(Media *m, Leg *leg) noexcept nogil:
    cdef Address origin
    cdef uint8_t *packet = m.buffer
    cdef long got = cw_receive(leg.rtp_fd, packet, BUFFER, origin.raw, &origin.size)
    cdef int start, end, codec
    cdef uint32_t kind, sequence, timestamp, ssrc
    if got < 0 or was_stun(m, leg, packet, got):
        return
    if leg.connected and leg.far.inbound != NULL and HEAD <= got <= BUFFER and not opened(m, leg, packet, &got, &origin):
        return
    start = strip(packet, <int>got) if got <= BUFFER else -1
    end = padded(packet, start, <int>got) if start >= 0 else -1
    if end < 0 or not leg.connected:
        leg.dropped += 1
        m.packets_dropped += 1
        return
    kind = packet[1]
    if is_rtcp(packet):
        if leg.far.mux and same_address(&origin, &leg.far.rtp):
            on_report(m, leg, packet, <uint32_t>got, &origin)
        return
    sequence = get16(packet + 2)
    timestamp = get32(packet + 4)
    ssrc = get32(packet + 8)
    codec = codec_of(leg, kind & 0x7F)
    if codec < 0 and kind & 0x7F != leg.far.dtmf_type and kind & 0x7F != 13:
        leg.dropped += 1
        m.packets_dropped += 1
        return
    if not admit(m, leg, &origin, ssrc, sequence):
        leg.strangers += 1
        m.strangers += 1
        return
    leg.heard_ms = leg.ssrc_heard_ms = m.now_ms
    leg.timed_out = 0
    leg.packets_received += 1
    m.packets_received += 1
    count(m, leg, sequence, timestamp, codec >= 0)
    if leg.far.receives:
        deliver(m, leg, packet + start, <uint32_t>(end - start), codec, kind, sequence, timestamp)


cdef void deliver(Media *m, Leg *leg, uint8_t *payload, uint32_t size, int codec, uint32_t kind,
                  uint32_t sequence, uint32_t timestamp) noexcept nogil:
    cdef bint is_key = codec < 0
    if is_key:
        if kind & 0x7F != leg.far.dtmf_type:
            return  # comfort noise: a sign of life, and nothing more
        on_key(m, leg, payload, size, timestamp)
    elif leg.recording != NULL and not leg.unheeded:
        place(m, leg, payload, size, <uint8_t>codec, timestamp)
    if leg.conference >= 0:
        if not is_key and size > 0:
            listen(m, leg, payload, size, <uint8_t>codec, timestamp, kind >> 7)
    elif leg.peer >= 0 and size > 0:
        relay(m, leg, payload, size, is_key, kind >> 7, <uint8_t>(0 if is_key else codec), sequence, timestamp)
