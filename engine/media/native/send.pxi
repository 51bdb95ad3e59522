# Packets that leave: each leg has one SSRC and one unbroken sequence, whatever its source (clips, peer, keys).

cdef inline void put16(uint8_t *at, uint32_t value) noexcept nogil:
    at[0] = (value >> 8) & 0xFF
    at[1] = value & 0xFF


cdef inline void put32(uint8_t *at, uint32_t value) noexcept nogil:
    put16(at, value >> 16)
    put16(at + 2, value & 0xFFFF)


cdef inline uint32_t get16(const uint8_t *at) noexcept nogil:
    return (<uint32_t>at[0] << 8) | at[1]


cdef inline uint32_t get32(const uint8_t *at) noexcept nogil:
    return (get16(at) << 16) | get16(at + 2)


cdef inline uint32_t fresh_timestamp(Media *m, Leg *leg) noexcept nogil:
    """RTP timestamp of now on this leg; never before the end of what was sent."""
    cdef uint32_t stamp = leg.base_timestamp + <uint32_t>((m.now - leg.opened) // 125000)
    cdef uint32_t after = leg.sent_timestamp + leg.sent_length
    if leg.packets_sent and <int32_t>(stamp - after) < 0:
        return after
    return stamp


cdef inline bint may_send(Leg *leg) noexcept nogil:
    return leg.connected and leg.far.sends and leg.far.rtp.size != 0


cdef inline bint follows(Leg *leg, uint32_t sequence) noexcept nogil:
    """May SRTP send this sequence number next? A jump would be a wrong roll-over count, or be taken for a replay."""
    cdef int32_t ahead = <int16_t>(sequence + leg.sequence_offset - leg.sent_sequence)
    return leg.far.outbound == NULL or -MISORDER < ahead < DROPOUT


cdef void transmit(Media *m, Leg *leg, uint8_t *payload, uint32_t size, uint32_t kind,
                   uint32_t sequence, uint32_t timestamp, uint32_t length) noexcept nogil:
    """Send `payload`, which has room for the header before it. kind: payload type with marker; length: in samples."""
    cdef uint8_t *packet = payload - HEAD
    cdef int total = <int>size + HEAD
    packet[0] = 0x80
    packet[1] = kind & 0xFF
    put16(packet + 2, sequence)
    put32(packet + 4, timestamp)
    put32(packet + 8, leg.own_ssrc)
    if <int16_t>(sequence - leg.sent_sequence) > 0 or leg.packets_sent == 0:
        leg.sent_sequence = <uint16_t>sequence
        leg.sent_timestamp = timestamp
        leg.sent_length = length
    if leg.far.outbound != NULL and (total > LONGEST_PLAIN or m.protect(leg.far.outbound, packet, &total) != 0):
        m.packets_dropped += 1  # a sequence number used before, above all: the same key stream is never used twice
        return
    if cw_send(leg.rtp_fd, packet, total, leg.far.rtp.raw, leg.far.rtp.size) < 0:
        m.packets_dropped += 1
        return
    leg.packets_sent += 1
    leg.octets_sent += size
    m.packets_sent += 1


cdef void relay(Media *m, Leg *origin, uint8_t *payload, uint32_t size, bint is_key, bint marker, uint8_t codec,
                uint32_t sequence, uint32_t timestamp) noexcept nogil:
    """Hand a packet from `origin` to its peer: own header, same payload unless the codecs differ. Encrypts in place."""
    cdef Leg *leg = &m.legs[origin.peer]
    cdef uint8_t *table
    cdef uint32_t i, kind
    if not may_send(leg):
        if leg.source != CLIPS and leg.source != KEYS:
            leg.source = NOTHING  # after a hold the numbers go on where they were
        return
    if leg.playing or leg.key_sending:
        return
    if is_key and leg.far.dtmf_type == NO_TYPE:
        return
    if leg.source != PEER or leg.from_port != origin.id or leg.from_ssrc != origin.ssrc or not follows(leg, sequence):
        leg.source = PEER
        leg.from_port = origin.id
        leg.from_ssrc = origin.ssrc
        leg.sequence_offset = <uint16_t>(leg.sent_sequence + 1 - sequence)
        leg.timestamp_offset = fresh_timestamp(m, leg) - timestamp
        marker = True
    if is_key:
        kind = leg.far.dtmf_type
    else:
        kind = leg.far.payload_type
        if codec != leg.far.codec:
            table = m.other[codec]
            for i in range(size):
                payload[i] = table[payload[i]]
    transmit(m, leg, payload, size, kind | (0x80 if marker else 0), <uint16_t>(sequence + leg.sequence_offset),
             timestamp + leg.timestamp_offset, 0 if is_key else size)


cdef void end_play(Media *m, Leg *leg, bint finished) noexcept nogil:
    if leg.playing:
        leg.playing = 0
        tell(m, E_PLAY_DONE, leg.id, leg.play_id, finished, leg.played / 8000.0)


cdef uint32_t fill(Media *m, Leg *leg, uint8_t *payload, uint32_t size) noexcept nogil:
    """The next `size` samples of what plays, one clip after another without a gap. Returns how many were left."""
    cdef uint32_t got = 0, part
    cdef Clip *clip
    while got < size and leg.clip_index < leg.clip_count:
        clip = &m.clips[leg.clips[leg.clip_index]]
        part = min(size - got, clip.length - leg.clip_position)
        memcpy(payload + got, clip.codes[leg.far.codec] + leg.clip_position, part)
        got += part
        leg.clip_position += part
        if leg.clip_position >= clip.length:
            leg.clip_position = 0
            leg.clip_index += 1
            if leg.loops and leg.clip_index == leg.clip_count:
                leg.clip_index = 0
    return got


cdef void play_packet(Media *m, Leg *leg, uint32_t ptime_ms) noexcept nogil:
    cdef uint8_t *payload = m.buffer + 64
    cdef uint32_t size = ptime_ms * 8, got = fill(m, leg, payload, size)
    cdef uint32_t marker = 0, stamp
    if got == 0:
        end_play(m, leg, True)
        return
    leg.played += got
    if got < size:
        memset(payload + got, silence_of(leg.far.codec), size - got)
    if leg.key_sending or not may_send(leg) or m.now_ms - leg.play_next > CATCH_UP_MS:
        leg.source = NOTHING if leg.source == CLIPS else leg.source
        return
    stamp = leg.sent_timestamp + leg.sent_length
    if leg.source != CLIPS:
        leg.source = CLIPS
        stamp = fresh_timestamp(m, leg)
        marker = 0x80
    transmit(m, leg, payload, size, leg.far.payload_type | marker, <uint16_t>(leg.sent_sequence + 1), stamp, size)


cdef void play_due(Media *m, Leg *leg) noexcept nogil:
    """Send what is due up to this tick; a late tick sends more than one packet."""
    cdef uint32_t ptime_ms
    while leg.playing and leg.play_next <= m.tick:
        ptime_ms = leg.far.ptime_ms if leg.connected else 20
        play_packet(m, leg, ptime_ms)
        leg.play_next += ptime_ms


cdef void key_due(Media *m, Leg *leg) noexcept nogil:
    """The next packet of the key being sent (RFC 4733 §2.5.1): every 20 ms, its end three times, then a gap."""
    cdef uint8_t *payload = m.buffer + 64
    cdef uint32_t marker = 0, total, end = 0
    if leg.key_count == 0 or leg.key_next > m.tick:
        return
    if not may_send(leg) or leg.far.dtmf_type == NO_TYPE:
        leg.key_count = leg.key_sending = 0
        return
    total = <uint32_t>leg.key_lengths[0] * 8
    if not leg.key_sending:
        leg.key_sending = 1
        leg.key_ends = 0
        leg.key_duration = 0
        leg.key_start = fresh_timestamp(m, leg)
        leg.source = KEYS
        marker = 0x80
    leg.key_duration = min(leg.key_duration + DTMF_STEP_MS * 8, total)
    if leg.key_duration >= total:
        end = 0x80
        leg.key_ends += 1
    payload[0] = leg.keys[0]
    payload[1] = end | 10
    put16(payload + 2, leg.key_duration)
    transmit(m, leg, payload, 4, leg.far.dtmf_type | marker, <uint16_t>(leg.sent_sequence + 1), leg.key_start,
             leg.key_duration)
    leg.key_next = m.tick + DTMF_STEP_MS
    if leg.key_ends == 3:
        leg.key_sending = 0
        leg.key_next = m.tick + DTMF_GAP_MS
        leg.key_count -= 1
        for marker in range(leg.key_count):
            leg.keys[marker] = leg.keys[marker + 1]
            leg.key_lengths[marker] = leg.key_lengths[marker + 1]
