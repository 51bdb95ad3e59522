from engine.defence.lockout import Block, Lockout, Terms

TERMS = Terms(strikes=3, within=60.0, first=10.0, longest=100.0)


def struck(lock: Lockout, key: str, times: int, now: float) -> Block | None:
    block = None
    for _ in range(times):
        block = lock.strike(key, now) or block
    return block


def test_third_strike_blocks_each_time_twice_as_long() -> None:
    lock, now, seconds = Lockout(TERMS), 0.0, []
    for times in range(1, 7):
        assert struck(lock, "a", 2, now) is None
        block = lock.strike("a", now)
        assert block is not None
        assert block.times == times
        seconds.append(block.seconds)
        now += block.seconds
        assert not lock.blocks("a", now)
    assert seconds == [10.0, 20.0, 40.0, 80.0, 100.0, 100.0]


def test_good_behaviour_is_remembered_too() -> None:
    lock = Lockout(TERMS)
    struck(lock, "a", 3, 0.0)
    block = struck(lock, "a", 3, 10.0 + TERMS.longest + 1.0)
    assert block == Block(10.0, 1)


def test_strikes_age_and_are_pardoned() -> None:
    lock = Lockout(TERMS)
    assert struck(lock, "a", 2, 0.0) is None
    assert struck(lock, "a", 2, 61.0) is None
    lock.pardon("a")
    assert struck(lock, "a", 2, 62.0) is None


def test_a_block_counts_what_it_drops_and_is_told_once_when_over() -> None:
    lock = Lockout(TERMS)
    struck(lock, "a", 3, 0.0)
    assert lock.blocks("a", 1.0)
    assert lock.blocks("a", 9.9)
    assert not lock.blocks("b", 1.0)
    assert lock.current(4.0) == [("a", 6.0)]
    assert lock.ended(9.9) == []
    assert lock.ended(10.0) == [("a", 2)]
    assert lock.ended(11.0) == []


def test_strikes_do_not_lengthen_a_block() -> None:
    lock = Lockout(TERMS)
    struck(lock, "a", 3, 0.0)
    assert struck(lock, "a", 30, 5.0) is None
    assert not lock.blocks("a", 10.0)


def test_table_is_bounded_and_emptied() -> None:
    lock = Lockout(TERMS, limit=50)
    for n in range(1000):
        struck(lock, str(n), 3, 0.0)
    assert len(lock) == 50
    assert len(lock.current(1.0)) == 50
    assert len(lock.ended(10.0)) == 50
    assert lock.ended(10.0 + TERMS.longest + TERMS.within) == []
    assert len(lock) == 0


def test_release() -> None:
    lock = Lockout(TERMS)
    struck(lock, "a", 3, 0.0)
    assert lock.release("a")
    assert not lock.blocks("a", 1.0)
    assert not lock.release("a")
