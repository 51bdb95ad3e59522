"""What is loaded when all tests are collected stays to the end: full collections, which some tests ask for again and
again, need not look at it (0.4 s each, of a heap with thousands of tests)."""

import gc


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
