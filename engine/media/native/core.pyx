# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The native media plane; its contract is core.pyi.

Two threads work on one `Media` struct: Python's (commands in, events out, allocation of slots) and the media thread,
which runs `turn` for ever without the GIL, without locks, and without allocating. They share nothing but two rings.
A third, the writer, takes finished parts of recordings to the disk. What may be touched by whom stands in types.pxi.
"""

import ipaddress
import socket
from collections import deque

include "types.pxi"

cdef enum:
    MAX_CLIPS = 8192

cdef uint64_t TIMER_TAG = 0xFFFFFFFFFFFFFFFF
cdef uint64_t COMMAND_TAG = 0xFFFFFFFFFFFFFFFE

include "rings.pxi"
include "record.pxi"
include "send.pxi"
include "receive.pxi"
include "report.pxi"
include "mix.pxi"
include "loop.pxi"

cdef dict CODECS = {"PCMU": PCMU, "PCMA": PCMA}


cdef int put_address(Address *into, str host, int port) except -1:
    """Fill a sockaddr; size 0 when the address is none that one can send to."""
    memset(into, 0, sizeof(Address))
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return 0
    if address.is_unspecified or address.is_multicast or not 0 < port < 65536 or host == "255.255.255.255":
        return 0
    cdef bytes packed = address.packed
    cdef uint16_t family = <uint16_t>(AF_INET if address.version == 4 else AF_INET6)
    cdef uint32_t scope
    memcpy(into.raw, &family, 2)
    put16(into.raw + 2, <uint32_t>port)
    if address.version == 4:
        into.size = 16
        memcpy(into.raw + 4, <char *>packed, 4)
        return 0
    into.size = 28
    memcpy(into.raw + 8, <char *>packed, 16)
    if address.scope_id is not None:
        scope = socket.if_nametoindex(address.scope_id)
        memcpy(into.raw + 24, &scope, 4)
    return 0


cdef class NativeCore:
    cdef Media *m
    cdef list free_slots, generations, keep, free_recordings
    cdef dict families, sessions
    cdef object library, retired
    cdef uint32_t clip_count
    cdef public int urgency

    def __cinit__(self, *, int ports, dict tables, srtp, bint stepped=False):
        self.m = <Media *>calloc(1, sizeof(Media))
        if self.m == NULL:
            raise MemoryError
        cdef Media *m = self.m
        m.limit = ports
        m.legs = <Leg *>calloc(ports, sizeof(Leg))
        m.live = <uint8_t *>calloc(ports, 1)
        m.recordings = <Recording *>calloc(ports, sizeof(Recording))
        m.clips = <Clip *>calloc(MAX_CLIPS, sizeof(Clip))
        m.commands = <Command *>calloc(COMMANDS, sizeof(Command))
        m.events = <Event *>calloc(EVENTS, sizeof(Event))
        m.ears = <Ear *>calloc(ports, sizeof(Ear))
        m.conferences = <Conference *>calloc(ports + 1, sizeof(Conference))
        if not (m.ears and m.conferences and m.legs and m.live and m.recordings and m.clips and m.commands and m.events):
            raise MemoryError
        m.stepped = stepped
        m.wall_offset = 0 if stepped else cw_wall_offset()
        m.epoll = epoll_create1(EPOLL_CLOEXEC)
        m.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        m.command_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        m.event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        m.writer_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if min(m.epoll, m.timer, m.command_fd, m.event_fd, m.writer_fd) < 0:
            raise OSError("no descriptors left for the media plane")
        cw_watch(m.epoll, m.timer, TIMER_TAG)
        cw_watch(m.epoll, m.command_fd, COMMAND_TAG)
        self.keep = [tables]
        m.linear[PCMU] = <int16_t *><char *>(<bytes>tables["ulaw"])
        m.linear[PCMA] = <int16_t *><char *>(<bytes>tables["alaw"])
        m.other[PCMU] = <uint8_t *><char *>(<bytes>tables["ulaw_to_alaw"])
        m.other[PCMA] = <uint8_t *><char *>(<bytes>tables["alaw_to_ulaw"])
        m.code[PCMU] = <uint8_t *><char *>(<bytes>tables["linear_to_ulaw"])
        m.code[PCMA] = <uint8_t *><char *>(<bytes>tables["linear_to_alaw"])
        self.library = srtp
        functions = srtp.functions
        m.protect = <Crypt><uintptr_t>functions["srtp_protect"]
        m.unprotect = <Crypt><uintptr_t>functions["srtp_unprotect"]
        m.protect_rtcp = <Crypt><uintptr_t>functions["srtp_protect_rtcp"]
        m.unprotect_rtcp = <Crypt><uintptr_t>functions["srtp_unprotect_rtcp"]
        self.free_slots = list(range(ports - 1, -1, -1))
        self.free_recordings = list(range(ports - 1, -1, -1))
        self.generations = [0] * ports
        self.families = {}
        self.sessions = {}
        self.retired = deque()

    def __dealloc__(self):
        cdef uint32_t i
        if self.m == NULL:
            return
        for i in range(self.m.limit):
            if self.m.legs != NULL and self.m.legs[i].state == OPEN:
                c_close(self.m.legs[i].rtp_fd)
                c_close(self.m.legs[i].rtcp_fd)
            if self.m.recordings != NULL:
                free(self.m.recordings[i].channels[0].ring)
        for fd in (self.m.epoll, self.m.timer, self.m.command_fd, self.m.event_fd, self.m.writer_fd):
            c_close(fd)
        free(self.m.legs)
        free(self.m.live)
        free(self.m.recordings)
        free(self.m.ears)
        free(self.m.conferences)
        free(self.m.clips)
        free(self.m.commands)
        free(self.m.events)
        free(self.m)

    # --- commands ---

    cdef Command *command(self, uint32_t kind, uint32_t port) except NULL:
        """A cleared place in the ring; `push` makes it visible."""
        cdef Media *m = self.m
        cdef int tries = 0
        with nogil:
            while m.command_head - cw_load(&m.command_tail) >= COMMANDS and tries < 5000:
                wake(m.command_fd)
                cw_wait(-1, 1)
                tries += 1
        if tries == 5000:
            raise RuntimeError("the media thread takes no commands")
        cdef Command *command = &m.commands[m.command_head % COMMANDS]
        command.kind = kind
        command.port = port
        command.other = command.count = command.flags = 0
        command.value = 0
        return command

    cdef void push(self) noexcept:
        cw_store(&self.m.command_head, self.m.command_head + 1)

    def kick(self):
        wake(self.m.command_fd)

    def attach(self, int rtp_fd, int rtcp_fd, *, int family, int timeout_ms, bytes identity):
        if not self.free_slots:
            raise RuntimeError("no free port")
        if len(identity) != 24:
            raise ValueError("identity: 24 octets")
        cdef bytes cname = identity[16:].hex().encode()
        cdef uint32_t slot = self.free_slots.pop()
        cdef uint8_t *random = <uint8_t *><char *>identity
        cdef Leg *leg = &self.m.legs[slot]
        self.generations[slot] = self.generations[slot] % 0x7FFF + 1
        memset(leg, 0, sizeof(Leg))
        leg.id = (<uint32_t>self.generations[slot] << 16) | slot
        leg.rtp_fd, leg.rtcp_fd = rtp_fd, rtcp_fd
        leg.timeout_ms = timeout_ms
        leg.own_ssrc = get32(random)
        leg.sent_sequence = <uint16_t>get16(random + 4)
        leg.base_timestamp = get32(random + 6)
        leg.chance = get32(random + 10)
        memcpy(leg.cname, <char *>cname, 16)
        leg.peer = leg.conference = -1
        leg.remote_lost = -1
        leg.remote_jitter = leg.round_trip = -1
        leg.far.dtmf_type = NO_TYPE
        self.families[leg.id] = family
        self.command(C_OPEN, leg.id)
        self.push()
        return leg.id

    def connect(self, uint32_t port, to):
        cdef Far far
        memset(&far, 0, sizeof(Far))
        put_address(&far.rtp, to.host, to.rtp_port)
        put_address(&far.rtcp, to.host, to.rtcp_port)
        if far.rtp.size != (16 if self.families.get(port) == AF_INET else 28):
            far.rtp.size = far.rtcp.size = 0
        far.codec = CODECS[to.codec]
        far.payload_type = to.payload_type
        far.dtmf_type = NO_TYPE if to.dtmf_type is None else to.dtmf_type
        far.ptime_ms = to.ptime_ms
        far.sends, far.receives, far.latch = to.sends, to.receives, to.latch
        far.mux = to.rtcp_port == to.rtp_port
        if port in self.families:
            self.secure(port, to.srtp, &far)
        self.command(C_CONNECT, port).far = far
        self.push()

    cdef int secure(self, uint32_t port, srtp, Far *far) except -1:
        """Put the port's libsrtp sessions into `far`. Those it replaces live until the media thread has let go."""
        before = self.sessions.pop(port, None)
        after = self.library.renew(before, srtp, self.m.legs[port & 0xFFFF].own_ssrc)
        if before is not None:
            self.retired.append((self.m.command_head, before))
        if after is not None:
            self.sessions[port] = after
            far.inbound = <void *><uintptr_t>after.inbound.pointer
            far.outbound = <void *><uintptr_t>after.outbound.pointer
        return 0

    cdef void release(self):
        """Free sessions whose replacement the media thread has taken over."""
        while self.retired and self.retired[0][0] < cw_load(&self.m.command_tail):
            self.retired.popleft()

    def add_clip(self, bytes pcmu, bytes pcma):
        if self.clip_count == MAX_CLIPS or len(pcmu) != len(pcma):
            raise RuntimeError("too many clips")
        cdef Clip *clip = &self.m.clips[self.clip_count]
        self.keep.append((pcmu, pcma))
        clip.codes[PCMU] = <uint8_t *><char *>pcmu
        clip.codes[PCMA] = <uint8_t *><char *>pcma
        clip.length = len(pcmu)
        self.clip_count += 1
        return self.clip_count - 1

    def play(self, uint32_t port, int64_t play, clips, bint loop, bint barge_in, bint failed=False):
        if len(clips) > CLIPS_A_PLAY or any(not 0 <= clip < self.clip_count for clip in clips):
            raise ValueError("clips")
        cdef Command *command = self.command(C_PLAY, port)
        command.value = play
        command.flags = loop | (barge_in << 1) | (failed << 2)
        for clip in clips:
            command.listed.clips[command.count] = clip
            command.count += 1
        self.push()

    def record(self, uint32_t left, rights, int fd):
        if not 1 <= len(rights) < MEMBERS:
            raise ValueError("voices")
        cdef uint32_t i, voices = 1 + len(rights)
        cdef uint8_t *rings = <uint8_t *>malloc(voices * RING)
        if rings == NULL or not self.free_recordings:
            free(rings)
            raise RuntimeError("no place for a recording")
        cdef uint32_t index = self.free_recordings.pop()
        cdef Recording *rec = &self.m.recordings[index]
        memset(rec, 0, sizeof(Recording))
        rec.fd = fd
        rec.token = index
        for i in range(voices):
            rec.channels[i].ring = rings + i * RING
        if index >= self.m.recordings_top:
            cw_store32(&self.m.recordings_top, index + 1)
        cdef Command *command = self.command(C_RECORD, left)
        command.recording = rec
        command.count = voices
        for i, port in enumerate((left, *rights)):
            command.listed.party.ports[i] = port
        self.push()
        return index

    def bridge(self, uint32_t a, uint32_t b):
        self.command(C_BRIDGE, a).other = b
        self.push()

    def mix(self, ports, hears):
        if len(ports) > MEMBERS or len(ports) != len(hears):
            raise ValueError("members")
        cdef Command *command = self.command(C_MIX, 0)
        for port, mask in zip(ports, hears):
            command.listed.party.ports[command.count] = port
            command.listed.party.hears[command.count] = mask
            command.count += 1
        self.push()

    def send_dtmf(self, uint32_t port, int event, int duration_ms):
        cdef Command *command = self.command(C_SEND_DTMF, port)
        command.count = event
        command.flags = duration_ms
        self.push()

    def stop(self, uint32_t port):
        self.command(C_STOP, port)
        self.push()

    def unbridge(self, uint32_t port):
        self.command(C_UNBRIDGE, port)
        self.push()

    def stop_recording(self, uint32_t left):
        self.command(C_STOP_RECORDING, left)
        self.push()

    def close(self, uint32_t port):
        self.command(C_CLOSE, port)
        self.push()

    # --- events and numbers ---

    @property
    def event_fd(self):
        return self.m.event_fd

    def poll(self):
        cdef Media *m = self.m
        cdef Event *event
        cdef Recording *rec
        cdef list out = []
        hush(m.event_fd)
        self.release()
        while m.event_tail != cw_load(&m.event_head):
            event = &m.events[m.event_tail % EVENTS]
            a = event.a
            if event.kind == E_PORT_CLOSED:
                a = self.stats(event.port)
            elif event.kind == E_RECORDING_DONE:
                rec = &m.recordings[event.a]
                a = (event.a, rec.error, rec.refused / 8000.0)
            out.append((event.kind, event.port, a, event.b, event.x))
            if event.kind == E_PORT_CLOSED:
                self.free_slots.append(event.port & 0xFFFF)
                self.families.pop(event.port)
                self.sessions.pop(event.port, None)
            elif event.kind == E_RECORDING_DONE:
                free(m.recordings[event.a].channels[0].ring)
                m.recordings[event.a].channels[0].ring = NULL
                self.free_recordings.append(event.a)
            cw_store(&m.event_tail, m.event_tail + 1)
        return out

    def stats(self, uint32_t port):
        cdef Leg *leg = &self.m.legs[port & 0xFFFF]
        cdef int64_t lost = leg.lost_before
        if leg.has_ssrc:
            lost += <int64_t>leg.cycles + leg.highest - leg.base + 1 - leg.received
        return {
            "packets_received": leg.packets_received,
            "packets_sent": leg.packets_sent,
            "packets_lost": lost,
            "jitter_ms": (leg.jitter >> 4) / 8.0,
            "jitter_max_ms": (leg.jitter_max >> 4) / 8.0,
            "strangers": leg.strangers,
            "stun": leg.stun,
            "remote_lost": leg.remote_lost,
            "unauthenticated": leg.unauthenticated,
            "remote_jitter_ms": leg.remote_jitter / 8.0 if leg.remote_jitter >= 0 else -1.0,
            "round_trip_ms": leg.round_trip * 1000 / 65536.0 if leg.round_trip >= 0 else -1.0,
        }

    def health(self):
        cdef Media *m = self.m
        cdef uint32_t i
        ports = bridged = recording = playing = 0
        for i in range(m.top):
            if m.live[i]:
                ports += 1
                bridged += m.legs[i].peer >= 0
                playing += m.legs[i].playing
        for i in range(m.recordings_top):
            recording += cw_load32(&m.recordings[i].state) != UNUSED
        late, m.late = m.late, 0
        return {
            "ports": ports,
            "bridged": bridged // 2,
            "recording": recording,
            "playing": playing,
            "packets_received": m.packets_received,
            "packets_sent": m.packets_sent,
            "packets_dropped": m.packets_dropped,
            "strangers": m.strangers,
            "stun": m.stun,
            "recording_overruns": m.recording_overruns,
            "recording_refused": m.recording_refused / 8000.0,
            "event_overruns": m.event_overruns,
            "late_ms_max": late / 1e6,
        }

    # --- running ---

    def step(self, int64_t now):
        cdef Media *m = self.m
        wake(m.command_fd)  # at least one more turn, in which sockets opened by the first are read
        with nogil:
            while turn(m, now, 0) > 0:
                pass

    def run(self):
        cdef Media *m = self.m
        self.urgency = cw_urgent(10)
        with nogil:
            while not cw_load32(&m.stop):
                turn(m, -1, -1)

    def drain(self):
        cdef int16_t frames[2 * DRAIN]
        drain(self.m, frames, False)

    def run_writer(self):
        cdef Media *m = self.m
        cdef int16_t frames[2 * DRAIN]
        cdef int64_t next_pass = cw_now(), left
        cw_urgent(5)  # below the packets, above all else: a ring holds a second, and a lost second is lost for good
        with nogil:
            while not cw_load32(&m.stop):
                left = (next_pass - cw_now()) // 1000000
                if left > 0 and cw_wait(m.writer_fd, <int>left) > 0:
                    hush(m.writer_fd)
                    drain(m, frames, True)
                else:
                    drain(m, frames, False)
                    next_pass = cw_now() + 500000000
            drain(m, frames, False)

    def halt(self):
        cw_store32(&self.m.stop, 1)
        wake(self.m.command_fd)
        wake(self.m.writer_fd)
