# The operating system, and the structs that both threads see. Who may touch what is said at each struct.

from libc.errno cimport EFBIG, EIO, errno
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <errno.h>
    #include <netinet/in.h>
    #include <poll.h>
    #include <sched.h>
    #include <sys/epoll.h>
    #include <sys/eventfd.h>
    #include <sys/resource.h>
    #include <sys/socket.h>
    #include <sys/syscall.h>
    #include <sys/timerfd.h>
    #include <time.h>
    #include <unistd.h>

    /* Indices of single-producer single-consumer rings, and hand-over flags. */
    #define cw_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define cw_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

    static inline int64_t cw_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    /* Wall clock minus monotonic clock, for the NTP stamps of RTCP only. */
    static inline int64_t cw_wall_offset(void) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec - cw_now();
    }
    static inline void cw_watch(int epoll, int fd, uint64_t tag) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = tag}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
    /* A tick each millisecond on the whole millisecond, or none. */
    static inline void cw_ticking(int fd, int on) {
        struct itimerspec spec = {{0, on ? 1000000 : 0}, {0, 0}};
        if (on) {
            clock_gettime(CLOCK_MONOTONIC, &spec.it_value);
            spec.it_value.tv_nsec = 0;
        }
        timerfd_settime(fd, on ? TFD_TIMER_ABSTIME : 0, &spec, NULL);
    }
    /* Before all ordinary work on this core: real time when allowed, else a better nice value. 2, 1 or 0. */
    static inline int cw_urgent(int priority) {
        struct sched_param param = {.sched_priority = priority};
        if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) == 0) return 2;
        return setpriority(PRIO_PROCESS, syscall(SYS_gettid), -10) == 0 ? 1 : 0;
    }
    static inline long cw_receive(int fd, void *buffer, size_t size, void *from, uint32_t *length) {
        socklen_t size_of_from = 28;
        long got = recvfrom(fd, buffer, size, MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)from, &size_of_from);
        *length = size_of_from;
        return got;
    }
    static inline long cw_send(int fd, const void *data, size_t size, const void *to, uint32_t length) {
        return sendto(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)to, length);
    }
    static inline int cw_wait(int fd, int timeout_ms) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        return poll(&one, 1, timeout_ms);
    }
    """
    cdef struct epoll_data:
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data data
    uint64_t cw_load(uint64_t *) noexcept nogil
    uint32_t cw_load32 "cw_load"(uint32_t *) noexcept nogil
    void cw_store(uint64_t *, uint64_t) noexcept nogil
    void cw_store32 "cw_store"(uint32_t *, uint32_t) noexcept nogil
    int64_t cw_now() noexcept nogil
    int64_t cw_wall_offset() noexcept nogil
    void cw_watch(int, int, uint64_t) noexcept nogil
    void cw_ticking(int, int) noexcept nogil
    int cw_urgent(int priority) noexcept nogil
    long cw_receive(int, void *, size_t, void *, uint32_t *) noexcept nogil
    long cw_send(int, const void *, size_t, const void *, uint32_t) noexcept nogil
    int cw_wait(int, int) noexcept nogil
    int epoll_create1(int) noexcept nogil
    int epoll_wait(int, epoll_event *, int, int) noexcept nogil
    int eventfd(unsigned int, int) noexcept nogil
    int timerfd_create(int, int) noexcept nogil
    int c_close "close"(int) noexcept nogil
    long c_read "read"(int, void *, size_t) noexcept nogil
    long c_write "write"(int, const void *, size_t) noexcept nogil
    long c_pwrite "pwrite"(int, const void *, size_t, int64_t) noexcept nogil
    int c_ftruncate "ftruncate"(int, int64_t) noexcept nogil
    uint16_t htons(uint16_t) noexcept nogil
    uint16_t ntohs(uint16_t) noexcept nogil
    uint32_t htonl(uint32_t) noexcept nogil
    uint32_t ntohl(uint32_t) noexcept nogil
    int AF_INET, AF_INET6, CLOCK_MONOTONIC, EFD_NONBLOCK, EFD_CLOEXEC, TFD_NONBLOCK, TFD_CLOEXEC, EPOLL_CLOEXEC

cdef enum:
    COMMANDS = 4096          # entries of the command ring
    EVENTS = 8192            # entries of the event ring
    CLIPS_A_PLAY = 64
    BATCH = 64               # datagrams between two looks at the clock
    COMMANDS_A_TURN = 256    # so that a flood of commands delays no packet
    BUFFER = 2048            # longest datagram that we read
    TRAILER = 160            # room for what libsrtp appends (144 at most)
    LONGEST_SRTP = 1500      # octets of a protected packet that we take
    LONGEST_PLAIN = 1356     # octets of a packet that we protect
    SOURCES = 64             # SSRCs of one inbound key: each costs libsrtp memory
    MISORDER = 100           # RFC 3550 A.1; as engine.rtp.jitter
    DROPOUT = 3000
    HEAD = 12                # RTP header
    STUN_HEAD = 20           # RFC 5389 §6
    STUN_COOKIE = 0x2112A442
    RING = 16384             # samples a channel of a recording: 2 s
    LONGEST_RECORDING = 0x3FFFFFE0  # frames: what a WAV header can say
    HOLD_BACK = 4000         # samples: how late a packet may be and still find its place in a recording
    OUT_OF_PLACE = 10        # packets in a row outside of that window: the source's clock has jumped
    DRAIN = 4096             # frames of one write
    LATCH_MS = 10000
    LATCH_PACKETS = 3
    SSRC_SILENCE_MS = 60     # after so long another SSRC of the same address may take over
    VISIT_MS = 10            # each leg is looked at so often
    CATCH_UP_MS = 200        # after a longer stall the missed packets are not sent any more
    LONGEST_ROUND_TRIP = 655360  # 10 s
    DTMF_QUEUE = 32
    DTMF_STEP_MS = 20
    DTMF_GAP_MS = 60
    NO_TYPE = 255
    MEMBERS = 16             # of a conference
    MIX_FRAME = 160          # samples
    EAR = 4096               # samples of a jitter buffer
    EAR_DELAY = 320          # samples from a source's first packet to the frame after next
    EAR_AHEAD = 1600         # samples that a packet may be early, and may have
    EAR_LATE = 5             # late packets in a row: from then on they are the measure

cdef enum:
    PCMU = 0
    PCMA = 1

cdef enum:
    FREE = 0
    OPEN = 1
    CLOSING = 2              # sockets are gone, waits for its recording

cdef enum:            # of what we send on a leg
    NOTHING = 0
    CLIPS = 1
    PEER = 2
    KEYS = 3
    MIX = 4

cdef enum:
    UNUSED = 0
    RUNNING = 1
    ENDING = 2               # length is final; the writer writes the rest
    WRITTEN = 3              # the writer has let go of it

cdef enum:
    C_OPEN = 1
    C_CONNECT = 2
    C_PLAY = 3
    C_STOP = 4
    C_BRIDGE = 5
    C_UNBRIDGE = 6
    C_RECORD = 7
    C_STOP_RECORDING = 8
    C_SEND_DTMF = 9
    C_CLOSE = 10
    C_MIX = 11

cdef enum:
    E_DTMF = 1               # a: digit
    E_PLAY_DONE = 2          # a: play id, b: finished, x: seconds
    E_RTP_TIMEOUT = 3        # x: seconds
    E_RECORDING_DONE = 4     # a: token, b: lost frames, x: seconds in the file
    E_PORT_CLOSED = 5

cdef struct Address:         # a sockaddr_in or sockaddr_in6; size 0: unknown
    uint8_t raw[28]
    uint32_t size

# srtp_protect and its three kin: (session, packet, its length in and out) -> 0 when it could be done
ctypedef int (*Crypt)(void *, void *, int *) noexcept nogil

cdef struct Far:             # what `connect` brings
    void *inbound            # libsrtp sessions, NULL for plain RTP; the media thread's from C_CONNECT on, until
    void *outbound           # another C_CONNECT or E_PORT_CLOSED gives them back
    Address rtp
    Address rtcp
    uint8_t codec, payload_type, dtmf_type, ptime_ms
    uint8_t sends, receives, latch, mux

cdef struct Clip:
    uint8_t *codes[2]        # by Codec
    uint32_t length

cdef struct Channel:         # one leg's voice in a recording; media thread only
    uint8_t *ring
    uint32_t ssrc
    uint32_t timestamp       # RTP timestamp at `position`
    int64_t position
    uint8_t anchored
    uint8_t codec            # of the codes in the ring; stored codes of another codec are translated
    uint8_t misplaced        # packets out of place in a row

cdef struct Recording:
    uint32_t state           # RecordingState; RUNNING->ENDING by the media thread, ->WRITTEN by the writer
    int fd
    int64_t token
    int64_t began            # ns
    uint64_t head            # samples below are final: media thread -> writer
    uint64_t tail            # samples below are written: writer -> media thread
    uint32_t lost            # packets without a place; media thread
    uint64_t good            # samples that are in the file; writer, as the next two
    uint64_t refused         # samples that the disk did not take
    int error                # errno of the first refusal, 0: none
    uint32_t voices          # of legs in it: the first is left, all others together are right
    int32_t slots[MEMBERS]   # of those legs
    Channel channels[MEMBERS]

cdef struct Leg:             # media thread only, between the C_OPEN command and E_PORT_CLOSED
    uint32_t id
    uint8_t state
    int rtp_fd, rtcp_fd
    Far far
    uint8_t connected
    Address signalled        # far.rtp as `connect` gave it; latching changes far.rtp only
    uint8_t timed_out
    uint32_t timeout_ms
    int64_t heard_ms         # last valid packet, or connect
    # receiving
    uint8_t has_ssrc
    uint8_t unheard          # nothing came yet from the signalled address, and none was learnt
    uint8_t latching         # may learn an address now
    uint32_t ssrc
    uint16_t highest, bad, has_bad
    uint32_t cycles, base, received, previous_expected, previous_received
    int64_t lost_before      # by sources before this SSRC
    uint32_t packets_received, strangers, dropped, unauthenticated, stun
    uint32_t sources[SOURCES]  # SSRCs that far.inbound knows
    uint32_t source_count
    uint8_t has_transit
    uint32_t transit, jitter, jitter_max
    int64_t ssrc_heard_ms, any_ssrc_until_ms
    uint32_t next_ssrc
    uint16_t next_sequence
    Address candidate        # who may become the remote address
    uint32_t candidate_ssrc
    uint16_t candidate_sequence
    uint8_t candidate_packets
    int64_t candidate_ms, connected_ms
    # telephone-event received
    uint8_t has_key, key_event
    uint32_t key_timestamp
    # sending
    uint32_t own_ssrc, sent_timestamp, sent_length, base_timestamp
    uint16_t sent_sequence
    int64_t opened
    uint32_t packets_sent, octets_sent
    uint8_t source           # Source of the last packet
    uint32_t from_port, from_ssrc, timestamp_offset
    uint16_t sequence_offset
    int32_t peer             # slot, -1 for none
    int32_t conference       # index, -1 for none
    uint32_t member          # place in it
    uint8_t unheeded         # nobody in it hears this leg
    # playing
    uint8_t playing, loops, barge_in
    uint16_t clips[CLIPS_A_PLAY]
    uint32_t clip_count, clip_index, clip_position
    int64_t play_id, play_next
    uint64_t played          # samples
    # sending keys
    uint8_t keys[DTMF_QUEUE]
    uint16_t key_lengths[DTMF_QUEUE]
    uint8_t key_count, key_sending, key_ends
    uint32_t key_start, key_duration
    int64_t key_next
    # RTCP
    char cname[16]
    int64_t report_next
    uint32_t chance, last_sr, reported_sent
    int64_t last_sr_ms
    int32_t remote_lost
    int64_t remote_jitter    # timestamp units, -1 unknown
    int64_t round_trip       # 1/65536 s, -1 unknown
    # recording
    Recording *recording
    uint8_t channel
    uint8_t unwritten        # recordings not yet told of; the leg waits for them when it closes

cdef struct Ear:             # a member's jitter buffer, samples by RTP timestamp; media thread only
    int16_t ring[EAR]
    uint8_t present[EAR]
    int16_t last[MIX_FRAME]  # the last whole frame
    uint32_t ssrc
    uint32_t next            # RTP timestamp of the next sample to be heard
    uint8_t started, late, lost

cdef struct Conference:      # media thread only; free when it has no members
    uint32_t count, members  # places, and those taken
    int32_t slots[MEMBERS]   # of legs; -1 for who has left
    uint16_t hears[MEMBERS]  # bit j: hears the member in place j
    int64_t due              # tick of the next frame

cdef struct Party:           # what `mix` brings; of `record` the ports
    uint32_t ports[MEMBERS]
    uint16_t hears[MEMBERS]

cdef union Listed:
    uint16_t clips[CLIPS_A_PLAY]
    Party party

cdef struct Command:
    uint32_t kind, port, other, count
    int64_t value
    uint32_t flags
    Far far
    Recording *recording
    Listed listed

cdef struct Event:
    uint32_t kind, port
    int64_t a, b
    double x

cdef struct Media:
    Leg *legs
    uint8_t *live            # by slot: to be visited
    uint32_t limit, top      # slots; first slot never used
    uint32_t open_legs
    Recording *recordings
    uint32_t recordings_top  # first place never used
    Clip *clips
    int16_t *linear[2]       # 256 values by Codec
    uint8_t *other[2]        # 256 codes: from this Codec to the other
    uint8_t *code[2]         # 65536 codes by linear value + 32768
    Ear *ears                # by slot; touched in conferences only
    Conference *conferences  # as many as legs
    uint32_t conferences_top  # first place never used
    Command *commands
    uint64_t command_head, command_tail
    Event *events
    uint64_t event_head, event_tail
    int epoll, timer, command_fd, event_fd, writer_fd
    uint8_t ticking
    uint8_t stepped          # time is given, not read
    int64_t now, now_ms, tick, wall_offset
    uint64_t packets_received, packets_sent, packets_dropped, strangers, stun, recording_overruns, event_overruns
    uint64_t recording_refused  # samples that the disk did not take; writer
    int64_t late
    uint32_t stop
    Crypt protect, unprotect, protect_rtcp, unprotect_rtcp
    uint8_t buffer[BUFFER + TRAILER]
