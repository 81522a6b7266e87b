"""Streams: every galaxy gets its own answer in order, and only so many are in memory; for both clients."""

import asyncio
import itertools
import os
import random
import resource
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morph.errors import InputError
from serving.client import AsyncMorphClient, MorphClient
from tests.serving.client.stand_in import StandIn, numbered
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def stand_in():
    with StandIn() as server:
        yield server


def numbers(answers) -> list[float]:
    return answers["probabilities"][:, 0].tolist()


async def collect(address: str, items, **options) -> list:
    async with AsyncMorphClient(address, batch_size=options.pop("batch_size", 128)) as client:
        return [answers async for answers in client.stream(items, **options)]


@settings(deadline=None, max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 9), max_size=12),
    batch_size=st.integers(1, 7),
    in_flight=st.integers(1, 5),
    kinds=st.randoms(use_true_random=False),
)
def test_any_items_in_any_messages_get_their_own_answers(stand_in, sizes, batch_size, in_flight, kinds):
    """uint8 and float32 items, one galaxy or several or none, cut into messages of any size."""
    starts = [0, *itertools.accumulate(sizes)]
    items = [
        numbered(size, start, kinds.choice(["uint8", "float32"])) for size, start in zip(sizes, starts, strict=False)
    ]
    expected = [list(map(float, range(start, start + size))) for size, start in zip(sizes, starts, strict=False)]
    stand_in.asked.clear()
    with MorphClient(stand_in.address, batch_size=batch_size) as client:
        assert [numbers(answers) for answers in client.stream(items, in_flight=in_flight)] == expected
    assert max((rows for _, rows in stand_in.asked), default=0) <= max(batch_size, 1)
    assert [numbers(a) for a in asyncio.run(collect(stand_in.address, items, batch_size=batch_size))] == expected


def test_single_galaxies_share_messages(stand_in):
    stand_in.asked.clear()
    with MorphClient(stand_in.address) as client:
        answers = list(client.stream(iter(numbered(300)), ["probabilities"]))
    assert [numbers(each) for each in answers] == [[float(i)] for i in range(300)]
    # Several are under way at once, so they may arrive in any order.
    assert sorted(rows for signature, rows in stand_in.asked if signature != "describe") == [44, 128, 128]


def slow(request, context):
    time.sleep(random.uniform(0, 0.02))


class Drawn:
    """Galaxies one by one, and how many were drawn from it."""

    def __init__(self, count: int):
        self.count, self.drawn = count, 0

    def __iter__(self):
        for number in range(self.count):
            self.drawn += 1
            yield numbered(1, number)[0]


@pytest.mark.parametrize("in_flight", [1, 3])
def test_no_more_is_drawn_or_under_way_than_asked(in_flight):
    galaxies = Drawn(200)
    with StandIn(slow) as server, MorphClient(server.address, batch_size=10) as client:
        for number, answers in enumerate(client.stream(galaxies, in_flight=in_flight)):
            assert numbers(answers) == [number]
            assert galaxies.drawn - number <= 10 * (in_flight + 1)
        assert server.most <= in_flight
        assert number == 199


def test_a_stream_that_is_left_draws_nothing_more(stand_in):
    galaxies = Drawn(1000)
    with MorphClient(stand_in.address, batch_size=10) as client:
        next(client.stream(galaxies, in_flight=2))
    assert galaxies.drawn == 30


def resident() -> int:
    """Bytes of this process that are in memory."""
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_memory_is_flat_over_a_long_stream(stand_in):
    """4,000 stamps of 48 KB are 196 MB; what is drawn ahead, with all its copies, is a tenth of that."""
    stamps = (numbered(1, number, size=64)[0] for number in range(4000))
    sizes = []
    with MorphClient(stand_in.address, batch_size=32) as client:
        for number, _ in enumerate(client.stream(stamps, ["anomaly"])):
            if number % 500 == 499:
                sizes.append(resident())
    assert max(sizes[2:]) - sizes[1] < 30e6


def test_an_array_that_is_filled_anew_each_time_is_read_in_time(stand_in):
    def reused():
        stamp = np.zeros((8, 8, 3), "float32")
        for number in range(50):
            stamp[:] = number
            yield stamp

    with MorphClient(stand_in.address, batch_size=8) as client:
        assert [numbers(each) for each in client.stream(reused())] == [[float(number)] for number in range(50)]


def test_the_asyncio_client_takes_async_galaxies_and_does_not_block_the_loop():
    """The server answers only what it got while the loop ran another task."""
    answer = threading.Event()

    async def galaxies():
        for number in range(40):
            await asyncio.sleep(0)
            yield numbered(1, number)[0]

    async def run(server):
        async def allow():
            await asyncio.to_thread(wait_until, lambda: server.most)
            answer.set()

        allowing = asyncio.create_task(allow())
        found = await collect(server.address, galaxies(), batch_size=4, in_flight=3)
        await allowing
        return found

    def wait(request, context):
        assert answer.wait(30)

    with StandIn(wait) as server:
        found = asyncio.run(run(server))
        assert server.most <= 3
    assert [numbers(each) for each in found] == [[float(number)] for number in range(40)]


def test_both_clients_answer_alike(server, flux, composites):
    async def ask():
        async with AsyncMorphClient(server.address) as client:
            return (
                await client.describe(),
                await client.available_versions(),
                await client.classify([flux, composites]),
                await client.reconstruct(flux),
                await client.restore(flux, 3.6, 2.0),
                await client.named(np.zeros((1, 42))),
                (await client.reference_sample()).table(),
            )

    description, versions, answers, reconstruction, restored, named, reference = asyncio.run(ask())
    with MorphClient(server.address) as client:
        assert (description, versions) == (client.describe(), client.available_versions())
        expected = client.classify([flux, composites])
        assert list(answers) == list(expected)
        for name in expected:
            np.testing.assert_array_equal(answers[name], expected[name])
        np.testing.assert_array_equal(reconstruction, client.reconstruct(flux))
        for name, values in client.restore(flux, 3.6, 2.0).items():
            np.testing.assert_array_equal(restored[name], values)
        assert named == client.named(np.zeros((1, 42)))
        np.testing.assert_array_equal(reference, client.reference_sample().table())


def test_what_is_not_a_stream_is_one_sentence():
    with MorphClient("127.0.0.1:1") as client:
        with pytest.raises(InputError, match="classify 'folder' instead"):
            next(client.stream("folder"))
        with pytest.raises(InputError, match="in_flight must be at least 1; it is 0"):
            next(client.stream([], in_flight=0))


def test_one_output_may_be_named_without_a_list(stand_in):
    async def awaited():
        async with AsyncMorphClient(stand_in.address) as client:
            return await client.classify(numbered(1), "anomaly")

    with MorphClient(stand_in.address) as client:
        assert list(client.classify(numbered(1), "anomaly")) == list(asyncio.run(awaited())) == ["anomaly"]


def test_an_async_stream_that_fails_leaves_nothing_behind(stand_in):
    def galaxies():
        yield from numbered(40)
        raise RuntimeError("the camera fell off")

    async def run():
        with pytest.raises(RuntimeError, match="camera"):
            await collect(stand_in.address, galaxies(), batch_size=4)
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1
