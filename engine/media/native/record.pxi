# Recordings: a ring of code words for each voice, filled by RTP timestamp in the media thread, emptied by the writer
# thread, which adds up those that are in the right channel.

cdef inline uint8_t silence_of(uint8_t codec) noexcept nogil:
    return 0xD5 if codec == PCMA else 0xFF


cdef void place(Media *m, Leg *leg, uint8_t *codes, uint32_t size, uint8_t codec, uint32_t timestamp) noexcept nogil:
    """Put a packet where its timestamp belongs. The first of a source stands where it arrived; so loss is silence and
    all voices keep together. A source whose clock jumps is placed anew after some packets."""
    cdef Recording *rec = leg.recording
    cdef Channel *ch = &rec.channels[leg.channel]
    cdef int64_t here = (m.now - rec.began) // 125000 - size, position
    cdef uint32_t i, at
    cdef uint8_t *table
    if size > HOLD_BACK:
        rec.lost += 1
        return
    here = here if here > 0 else 0
    if not ch.anchored or ch.ssrc != leg.ssrc:
        anchor(ch, leg.ssrc, timestamp, here)
    position = ch.position + <int32_t>(timestamp - ch.timestamp)
    if position < <int64_t>rec.head or position > here + HOLD_BACK:
        ch.misplaced += 1
        if ch.misplaced < OUT_OF_PLACE:
            rec.lost += 1
            return
        anchor(ch, leg.ssrc, timestamp, here)
        position = here
    ch.misplaced = 0
    ch.position = position
    ch.timestamp = timestamp
    if position + size > <int64_t>cw_load(&rec.tail) + RING:
        rec.lost += 1
        m.recording_overruns += 1
        return
    at = <uint32_t>(position & (RING - 1))
    if codec != ch.codec:
        table = m.other[codec]
        for i in range(size):
            ch.ring[(at + i) & (RING - 1)] = table[codes[i]]
        return
    i = min(size, RING - at)
    memcpy(ch.ring + at, codes, i)
    memcpy(ch.ring, codes + i, size - i)


cdef void anchor(Channel *ch, uint32_t ssrc, uint32_t timestamp, int64_t here) noexcept nogil:
    ch.anchored = 1
    ch.ssrc = ssrc
    ch.timestamp = timestamp
    ch.position = here
    ch.misplaced = 0


cdef bint all_there(Media *m, Party *party, uint32_t count) noexcept nogil:
    """Each port is open, and none of them is given twice."""
    cdef uint32_t i, j
    for i in range(count):
        if leg_of(m, party.ports[i]) == NULL:
            return False
        for j in range(i):
            if party.ports[i] == party.ports[j]:
                return False
    return True


cdef void begin_recording(Media *m, Recording *rec, Party *party, uint32_t count) noexcept nogil:
    cdef uint32_t i
    cdef Leg *leg
    cdef Channel *ch
    rec.voices = count
    for i in range(count):
        leg = leg_of(m, party.ports[i])
        end_recording(m, leg)
        leg.recording = rec
        leg.channel = <uint8_t>i
        leg.unwritten += 1
        rec.slots[i] = <int32_t>(leg - m.legs)
        ch = &rec.channels[i]
        ch.codec = leg.far.codec if leg.connected else PCMU
        memset(ch.ring, silence_of(ch.codec), RING)
    rec.began = m.now
    cw_store32(&rec.state, RUNNING)


cdef void end_recording(Media *m, Leg *leg) noexcept nogil:
    """Its length is final; its legs put nothing more into it. The writer is woken for the rest."""
    cdef Recording *rec = leg.recording
    cdef int64_t length
    cdef uint32_t i
    if rec == NULL or rec.state != RUNNING:
        return
    length = (m.now - rec.began) // 125000
    cw_store(&rec.head, <uint64_t>max(length, <int64_t>rec.head))
    for i in range(rec.voices):
        m.legs[rec.slots[i]].recording = NULL
    cw_store32(&rec.state, ENDING)
    wake(m.writer_fd)


cdef void visit_recording(Media *m, Recording *rec) noexcept nogil:
    """Let the writer have what can no longer change; tell of what it has finished."""
    cdef int64_t final
    cdef uint32_t i
    if rec.state == RUNNING:
        final = (m.now - rec.began) // 125000 - HOLD_BACK
        if final > <int64_t>rec.head:
            cw_store(&rec.head, <uint64_t>final)
    elif cw_load32(&rec.state) == WRITTEN and tell(
            m, E_RECORDING_DONE, m.legs[rec.slots[0]].id, rec.token, rec.lost + (rec.refused + 159) // 160,
            rec.good / 8000.0):
        for i in range(rec.voices):
            m.legs[rec.slots[i]].unwritten -= 1
        rec.state = UNUSED


# --- the writer thread ---

cdef void write_part(Media *m, Recording *rec, int16_t *frames) noexcept nogil:
    """Decode and write up to DRAIN frames, and leave silence in their place."""
    cdef uint64_t tail = rec.tail
    cdef uint32_t at = <uint32_t>(tail & (RING - 1)), i, side
    cdef uint32_t part = <uint32_t>min(<uint64_t>min(DRAIN, RING - at), cw_load(&rec.head) - tail)
    cdef int16_t *linear
    cdef uint8_t *codes
    for side in range(2):
        linear = m.linear[rec.channels[side].codec]
        codes = rec.channels[side].ring + at
        for i in range(part):
            frames[2 * i + side] = linear[codes[i]]
    if rec.voices > 2:
        add_up(m, rec, frames, at, part)
    for side in range(rec.voices):
        memset(rec.channels[side].ring + at, silence_of(rec.channels[side].codec), part)
    put(m, rec, <const char *>frames, tail, part)
    cw_store(&rec.tail, tail + part)


cdef void add_up(Media *m, Recording *rec, int16_t *frames, uint32_t at, uint32_t part) noexcept nogil:
    """Three or more talk: all but the first are heard in the right channel, cut off where that is too loud."""
    cdef Channel *ch
    cdef uint32_t i, voice
    cdef int32_t sum
    for i in range(part):
        sum = 0
        for voice in range(1, rec.voices):
            ch = &rec.channels[voice]
            sum += m.linear[ch.codec][ch.ring[at + i]]
        frames[2 * i + 1] = <int16_t>max(-32768, min(32767, sum))


cdef void put(Media *m, Recording *rec, const char *frames, uint64_t position, uint32_t part) noexcept nogil:
    """Frames into the file at their place. What a full disk does not take is left out, and counted; the next part is
    tried again at its own place, so that what was not written is silence there and all after it keeps its time."""
    cdef uint32_t whole
    cdef long done = 0, written
    if position + part > LONGEST_RECORDING:
        refuse(rec, EFBIG)
    else:
        while done < <long>part * 4:
            written = c_pwrite(rec.fd, frames + done, part * 4 - done, 44 + position * 4 + done)
            if written <= 0:
                refuse(rec, errno if written < 0 else EIO)
                break
            done += written
    whole = <uint32_t>(done // 4)
    if whole:
        rec.good = position + whole
    rec.refused += part - whole
    m.recording_refused += part - whole


cdef void refuse(Recording *rec, int error) noexcept nogil:
    if rec.error == 0:
        rec.error = error


cdef void finish(Recording *rec) noexcept nogil:
    """Write the sizes into the header and let go of the file. After a refusal it ends with its last whole frame."""
    cdef uint32_t size = <uint32_t>(rec.good * 4)
    cdef uint32_t riff = 36 + size
    if rec.error != 0 and c_ftruncate(rec.fd, 44 + <int64_t>size) != 0:
        refuse(rec, errno)
    if c_pwrite(rec.fd, &riff, 4, 4) != 4 or c_pwrite(rec.fd, &size, 4, 40) != 4:
        refuse(rec, errno)
    if c_close(rec.fd) != 0:  # a file system over the network may say only now that it is full
        refuse(rec, errno)
    rec.fd = -1
    cw_store32(&rec.state, WRITTEN)


cdef void drain(Media *m, int16_t *frames, bint only_ending) noexcept nogil:
    """Write what is final of all recordings, or the rest of those that end."""
    cdef uint32_t slot, state
    cdef Recording *rec
    for slot in range(cw_load32(&m.recordings_top)):
        rec = &m.recordings[slot]
        state = cw_load32(&rec.state)
        if state == ENDING or (state == RUNNING and not only_ending):
            while rec.tail < cw_load(&rec.head):
                write_part(m, rec, frames)
            if state == ENDING:
                finish(rec)
