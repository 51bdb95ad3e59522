/* RTP load: N streams of PCMU (RFC 3551), 20 ms each, evenly phased, from a few sockets; and their far end.
 *
 * Each payload carries the stream's number, its packet number and the time of sending; a relay that leaves
 * payloads alone brings them back, on whatever socket the other side of the call was told. Arrival times are the
 * kernel's (SO_TIMESTAMPNS), so that the moment when this process gets round to reading does not matter.
 *
 * Lines on stdin:                                  answers on stdout, one JSON object a line:
 *   add ID SOCKET HOST PORT FAR                      (none; FAR is the socket expected to receive, -1: none)
 *   del ID
 *   mark                                             a measured window begins
 *   end                                              ... and ends; packets on their way still count
 *   report                                           {"event":"report", ...} about the window
 * First line out: {"event":"ready","ports":[...]}. End of stdin ends the process.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_STREAMS 16384
#define MAX_SOCKETS 64
#define SLOTS 40           /* of a packet time: a slot is 0.5 ms */
#define SLOT_NS 500000LL
#define BATCH 32
#define PAYLOAD 160
#define PACKET (12 + PAYLOAD)
#define BUCKETS 20000      /* of 10 microseconds: 200 ms */
#define CATCH_UP 400       /* slots; beyond that lateness is given up and counted */

struct tag { char magic[8]; uint32_t stream, number; uint64_t sent_ns; };
static const char MAGIC[8] = "CWLOAD01";

struct stream {
    int active, socket, far, slot;
    struct sockaddr_in to;
    uint32_t ssrc, number;            /* number of the next packet */
    uint32_t first, last, got;        /* the window: [first, last) */
    uint32_t highest; uint64_t seen;  /* bit i: highest - i arrived */
    int heard;
};

static struct stream streams[MAX_STREAMS];
static uint32_t *slots[SLOTS]; static int slot_size[SLOTS];
static int sockets[MAX_SOCKETS], socket_count = 4;
static uint32_t rx_drops[MAX_SOCKETS], rx_drops_at_mark[MAX_SOCKETS];
static uint32_t delays[BUCKETS + 1];
static uint32_t foreign[65536];
static int window_open, stream_count;
static uint64_t window_began, window_ended;
static uint64_t delay_max, sent, received, duplicates, reordered, astray, foreign_packets, send_errors, late_max, skipped;
static double cpu_at_mark;

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what) { perror(what); exit(1); }

static void open_sockets(const char *host)
{
    printf("{\"event\":\"ready\",\"ports\":[");
    for (int i = 0; i < socket_count; i++) {
        struct sockaddr_in a = { .sin_family = AF_INET };
        socklen_t n = sizeof a;
        int one = 1, big = 16 << 20;
        if (inet_pton(AF_INET, host, &a.sin_addr) != 1) die("address");
        sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        if (sockets[i] < 0 || bind(sockets[i], (struct sockaddr *)&a, sizeof a)) die("bind");
        if (setsockopt(sockets[i], SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big))
            setsockopt(sockets[i], SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
        setsockopt(sockets[i], SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
        setsockopt(sockets[i], SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
        setsockopt(sockets[i], SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof one);
        getsockname(sockets[i], (struct sockaddr *)&a, &n);
        printf("%s%d", i ? "," : "", ntohs(a.sin_port));
    }
    printf("]}\n");
    fflush(stdout);
}

/* --- sending ------------------------------------------------------------------------------------------------ */

static void fill(struct stream *s, uint8_t *p, uint32_t id, uint64_t at)
{
    struct tag tag = { .stream = id, .number = s->number, .sent_ns = at };
    uint16_t sequence = htons((uint16_t)s->number);
    uint32_t timestamp = htonl(s->number * PAYLOAD), ssrc = htonl(s->ssrc);
    memcpy(tag.magic, MAGIC, 8);
    p[0] = 0x80;
    p[1] = s->number == 0 ? 0x80 : 0;
    memcpy(p + 2, &sequence, 2);
    memcpy(p + 4, &timestamp, 4);
    memcpy(p + 8, &ssrc, 4);
    memcpy(p + 12, &tag, sizeof tag);
    s->number++;
}

static void flush_batch(int socket, struct mmsghdr *messages, int n)
{
    int done = 0;
    while (done < n) {
        int k = sendmmsg(sockets[socket], messages + done, (unsigned)(n - done), 0);
        if (k <= 0) { send_errors += (uint64_t)(n - done); return; }
        done += k;
    }
    if (window_open) sent += (uint64_t)n;
}

static void send_slot(int slot)
{
    static uint8_t packets[BATCH][PACKET];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    static int prepared;
    if (!prepared) {
        memset(packets, 0xff, sizeof packets); /* silence in mu-law */
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){ packets[i], PACKET };
            messages[i].msg_hdr = (struct msghdr){ .msg_namelen = sizeof(struct sockaddr_in), .msg_iov = &parts[i], .msg_iovlen = 1 };
        }
        prepared = 1;
    }
    for (int k = 0; k < socket_count; k++) {
        int n = 0;
        uint64_t at = 0;
        for (int i = 0; i < slot_size[slot]; i++) {
            uint32_t id = slots[slot][i];
            struct stream *s = &streams[id];
            if (s->socket != k) continue;
            if (n == 0) at = now_ns(CLOCK_REALTIME);
            fill(s, packets[n], id, at);
            messages[n].msg_hdr.msg_name = &s->to;
            if (++n == BATCH) { flush_batch(k, messages, n); n = 0; }
        }
        if (n) flush_batch(k, messages, n);
    }
}

/* --- receiving ---------------------------------------------------------------------------------------------- */

static void count_delay(uint64_t ns)
{
    uint64_t bucket = ns / 10000;
    delays[bucket < BUCKETS ? bucket : BUCKETS]++;
    if (ns > delay_max) delay_max = ns;
}

static void take(int socket, const struct tag *tag, uint64_t arrived)
{
    struct stream *s = &streams[tag->stream];
    uint32_t n = tag->number;
    if (tag->stream >= MAX_STREAMS || n >= s->number) return;
    if (s->far != socket) { astray++; return; }
    if (!s->heard) { s->heard = 1; s->highest = n; s->seen = 1; }
    else if (n > s->highest) {
        uint32_t step = n - s->highest;
        s->seen = step < 64 ? (s->seen << step) | 1 : 1;
        s->highest = n;
    } else {
        uint32_t back = s->highest - n;
        if (back < 64 && (s->seen >> back & 1)) { duplicates++; return; }
        if (back < 64) s->seen |= 1ULL << back;
        reordered++;
    }
    if (n < s->first || n >= s->last) return;
    s->got++;
    received++;
    count_delay(arrived > tag->sent_ns ? arrived - tag->sent_ns : 0);
}

static uint64_t ancillary(struct msghdr *header, int socket)
{
    uint64_t at = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET) continue;
        if (c->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            at = (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
        } else if (c->cmsg_type == SO_RXQ_OVFL) {
            memcpy(&rx_drops[socket], CMSG_DATA(c), 4);
        }
    }
    return at;
}

static void receive(int socket)
{
    static uint8_t data[BATCH][512];
    static char control[BATCH][128];
    static struct sockaddr_in from[BATCH];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    for (int round = 0; round < 64; round++) {
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){ data[i], sizeof data[i] };
            messages[i].msg_hdr = (struct msghdr){ .msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &parts[i],
                .msg_iovlen = 1, .msg_control = control[i], .msg_controllen = sizeof control[i] };
        }
        int n = recvmmsg(sockets[socket], messages, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < n; i++) {
            uint64_t at = ancillary(&messages[i].msg_hdr, socket);
            struct tag tag;
            if (messages[i].msg_len >= 12 + sizeof tag && (data[i][0] & 0xcf) == 0x80) {
                memcpy(&tag, data[i] + 12, sizeof tag);
                if (!memcmp(tag.magic, MAGIC, 8)) { take(socket, &tag, at); continue; }
            }
            if (window_open) { foreign_packets++; foreign[ntohs(from[i].sin_port)]++; }
        }
        if (n < BATCH) return;
    }
}

/* --- commands ----------------------------------------------------------------------------------------------- */

static void drop(uint32_t id)
{
    struct stream *s = &streams[id];
    if (!s->active) return;
    for (int i = 0; i < slot_size[s->slot]; i++)
        if (slots[s->slot][i] == id) { slots[s->slot][i] = slots[s->slot][--slot_size[s->slot]]; break; }
    s->active = 0;
    stream_count--;
}

static void add(uint32_t id, int socket, const char *host, int port, int far)
{
    if (id >= MAX_STREAMS || socket < 0 || socket >= socket_count) { fprintf(stderr, "bad stream %u\n", id); return; }
    drop(id);
    struct stream *s = &streams[id];
    int best = (int)(id * 17 % SLOTS);
    for (int k = 0; k < SLOTS; k++)
        if (slot_size[k] < slot_size[best]) best = k;
    *s = (struct stream){ .active = 1, .socket = socket, .far = far, .slot = best, .ssrc = 0x10000u + id * 2654435761u };
    s->to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    inet_pton(AF_INET, host, &s->to.sin_addr);
    s->first = s->last = window_open ? 0 : UINT32_MAX;
    if (window_open) s->last = UINT32_MAX;
    slots[best][slot_size[best]++] = id;
    stream_count++;
}

static void mark(void)
{
    memset(delays, 0, sizeof delays);
    memset(foreign, 0, sizeof foreign);
    memcpy(rx_drops_at_mark, rx_drops, sizeof rx_drops);
    delay_max = sent = received = duplicates = reordered = astray = foreign_packets = send_errors = late_max = skipped = 0;
    for (int i = 0; i < MAX_STREAMS; i++) { streams[i].first = streams[i].number; streams[i].last = UINT32_MAX; streams[i].got = 0; }
    window_open = 1;
    window_began = now_ns(CLOCK_MONOTONIC);
    cpu_at_mark = cpu_seconds();
}

static void end(void)
{
    for (int i = 0; i < MAX_STREAMS; i++) streams[i].last = streams[i].number;
    window_open = 0;
    window_ended = now_ns(CLOCK_MONOTONIC);
}

static double percentile(double share)
{
    uint64_t total = 0, sum = 0, rank;
    for (int i = 0; i <= BUCKETS; i++) total += delays[i];
    rank = (uint64_t)(share * (double)total);
    for (int i = 0; i <= BUCKETS; i++)
        if ((sum += delays[i]) > rank) return (i + 1) / 100.0;
    return 0;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report_foreign(double seconds)
{
    static uint32_t sorted[65536];
    int n = 0;
    for (int i = 0; i < 65536; i++) if (foreign[i]) sorted[n++] = foreign[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    printf("\"foreign\":{\"packets\":%llu,\"sources\":%d,\"per_second_min\":%.2f,\"per_second_median\":%.2f}",
        (unsigned long long)foreign_packets, n, n ? sorted[0] / seconds : 0, n ? sorted[n / 2] / seconds : 0);
}

static void report(void)
{
    double seconds = (double)(window_ended - window_began) / 1e9, worst = 0;
    uint64_t expected = 0, drops = 0;
    int silent = 0, measured = 0;
    for (int i = 0; i < MAX_STREAMS; i++) {
        struct stream *s = &streams[i];
        uint32_t due = s->last - s->first;
        if (!s->active || s->far < 0 || due == 0 || s->first == UINT32_MAX) continue;
        double loss = 1.0 - (double)s->got / due;
        measured++;
        expected += due;
        if (s->got == 0) silent++;
        if (loss > worst) worst = loss;
    }
    for (int i = 0; i < socket_count; i++) drops += rx_drops[i] - rx_drops_at_mark[i];
    printf("{\"event\":\"report\",\"seconds\":%.3f,\"streams\":%d,\"measured\":%d,\"sent\":%llu,\"expected\":%llu,\"received\":%llu,"
        "\"lost\":%lld,\"worst_stream_loss\":%.6f,\"silent_streams\":%d,\"duplicates\":%llu,\"reordered\":%llu,\"astray\":%llu,"
        "\"delay_ms\":{\"p50\":%.2f,\"p99\":%.2f,\"p99.9\":%.2f,\"max\":%.3f},"
        "\"generator\":{\"send_errors\":%llu,\"receive_drops\":%llu,\"late_ms_max\":%.3f,\"skipped_slots\":%llu,\"cpu_seconds\":%.3f},",
        seconds, stream_count, measured, (unsigned long long)sent, (unsigned long long)expected, (unsigned long long)received,
        (long long)(expected - received), worst, silent, (unsigned long long)duplicates, (unsigned long long)reordered,
        (unsigned long long)astray, percentile(0.5), percentile(0.99), percentile(0.999), (double)delay_max / 1e6,
        (unsigned long long)send_errors, (unsigned long long)drops, (double)late_max / 1e6, (unsigned long long)skipped,
        cpu_seconds() - cpu_at_mark);
    report_foreign(seconds > 0 ? seconds : 1);
    printf("}\n");
    fflush(stdout);
}

static void command(char *line)
{
    unsigned id;
    int socket, port, far;
    char host[64];
    if (sscanf(line, "add %u %d %63s %d %d", &id, &socket, host, &port, &far) == 5) add(id, socket, host, port, far);
    else if (sscanf(line, "del %u", &id) == 1 && id < MAX_STREAMS) drop(id);
    else if (!strcmp(line, "mark")) mark();
    else if (!strcmp(line, "end")) end();
    else if (!strcmp(line, "report")) report();
    else fprintf(stderr, "unknown command: %s\n", line);
}

static int read_commands(void)
{
    static char buffer[1 << 16];
    static size_t used;
    ssize_t n = read(0, buffer + used, sizeof buffer - 1 - used);
    if (n == 0) return 0;
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    used += (size_t)n;
    char *start = buffer, *newline;
    while ((newline = memchr(start, '\n', used - (size_t)(start - buffer)))) {
        *newline = 0;
        command(start);
        start = newline + 1;
    }
    used -= (size_t)(start - buffer);
    memmove(buffer, start, used);
    return 1;
}

int main(int argc, char **argv)
{
    const char *host = argc > 1 ? argv[1] : "127.0.0.1";
    if (argc > 2) socket_count = atoi(argv[2]);
    if (socket_count < 1 || socket_count > MAX_SOCKETS) { fprintf(stderr, "1 to %d sockets\n", MAX_SOCKETS); return 2; }
    for (int i = 0; i < SLOTS; i++) slots[i] = malloc(MAX_STREAMS * sizeof(uint32_t));
    prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
    fcntl(0, F_SETFL, O_NONBLOCK);
    open_sockets(host);
    uint64_t due = now_ns(CLOCK_MONOTONIC);
    for (int slot = 0;; slot = (slot + 1) % SLOTS, due += SLOT_NS) {
        struct timespec until = { (time_t)(due / 1000000000ULL), (long)(due % 1000000000ULL) };
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        uint64_t late = now_ns(CLOCK_MONOTONIC) - due;
        if (late > late_max) late_max = late;
        if (late > CATCH_UP * SLOT_NS) { skipped += late / SLOT_NS; due += late; }
        send_slot(slot);
        for (int i = 0; i < socket_count; i++) receive(i);
        if (slot % 2 == 0 && !read_commands()) return 0;
    }
}
