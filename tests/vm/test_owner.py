"""The owner's thread: one, reachable from all, and never waiting for itself."""

from __future__ import annotations

import asyncio
import threading

import pytest

from osvlab.vm.owner import owner


def test_there_is_one() -> None:
    assert owner() is owner()


def test_values_and_errors_come_back() -> None:
    async def fail() -> None:
        raise KeyError("lost")

    assert owner().call(asyncio.sleep(0, "value")) == "value"
    with pytest.raises(KeyError, match="lost"):
        owner().call(fail())


def test_a_caller_that_leaves_cancels_the_work() -> None:
    cancelled = threading.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeoutError):
        owner().call(work(), timeout=0.05)
    assert cancelled.wait(20)


def test_it_does_not_wait_for_itself() -> None:
    async def inside() -> None:
        owner().call(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="itself"):
        owner().call(inside())


def test_a_caller_that_leaves_waits_until_the_work_has_tidied_up() -> None:
    tidy = threading.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            tidy.set()

    with pytest.raises(TimeoutError):
        owner().call(work(), timeout=0.01)
    assert tidy.is_set()
