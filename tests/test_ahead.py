"""Work one step ahead: same items, bounded, errors in their place."""

import threading
from contextlib import closing

import pytest

from ubp.ahead import ahead


def test_same_items_in_order():
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter(()))) == []
    assert list(ahead(iter([None, False, None]))) == [None, False, None]


def test_the_next_item_is_made_meanwhile_and_no_further_one():
    made, second = [], threading.Event()

    def items():
        for i in range(5):
            made.append(i)
            if i == 1:
                second.set()
            yield i

    with closing(ahead(items())) as stream:
        assert next(stream) == 0
        assert second.wait(10), "the second item should be made while the caller has the first"
        assert made == [0, 1]


def test_stages_overlap():
    """Each of two stages waits for the other to be at work: done one after the other, they would wait forever."""
    meet = threading.Barrier(2)

    def first():
        for i in range(3):
            if i:
                meet.wait(10)
            yield i

    found = []
    for item in ahead(first()):
        found.append(item)
        if item < 2:
            meet.wait(10)
    assert found == [0, 1, 2]


def test_an_error_comes_where_its_item_would():
    def items():
        yield 1
        yield 2
        raise KeyError("three")

    found = []
    with pytest.raises(KeyError, match="three"):
        for item in ahead(items()):
            found.append(item)
    assert found == [1, 2]


def test_closing_early_waits_for_the_step_in_hand_and_leaves_no_thread():
    before = threading.active_count()
    stream = ahead(iter(range(10)))
    assert next(stream) == 0
    stream.close()
    assert threading.active_count() == before
