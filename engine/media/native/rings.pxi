# Single-producer single-consumer rings: commands from Python to the media thread, events back.

cdef inline Command *next_command(Media *m) noexcept nogil:
    """The oldest command, or NULL. The caller gives it back with `taken`."""
    if m.command_tail == cw_load(&m.command_head):
        return NULL
    return &m.commands[m.command_tail % COMMANDS]


cdef inline void taken(Media *m) noexcept nogil:
    cw_store(&m.command_tail, m.command_tail + 1)


cdef inline bint tell(Media *m, uint32_t kind, uint32_t port, int64_t a, int64_t b, double x) noexcept nogil:
    """Queue an event for Python. False when the ring is full; counted, never waits."""
    cdef Event *event
    if m.event_head - cw_load(&m.event_tail) >= EVENTS:
        m.event_overruns += 1
        return False
    event = &m.events[m.event_head % EVENTS]
    event.kind = kind
    event.port = port
    event.a = a
    event.b = b
    event.x = x
    cw_store(&m.event_head, m.event_head + 1)
    return True


cdef inline void wake(int fd) noexcept nogil:
    cdef uint64_t one = 1
    c_write(fd, &one, 8)


cdef inline void hush(int fd) noexcept nogil:
    cdef uint64_t many
    c_read(fd, &many, 8)
