"""Requests that arrive together pass through the network together, and each gets its own answer."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from morph.errors import BadInput
from serving.batching import Batcher, BatchingParameters, QueueFull
from serving.export import DEPLOY


class Network:
    """Doubles numbers, slowly, and remembers how many came at once."""

    def __init__(self, seconds: float = 0.01):
        self.seconds, self.passes = seconds, []

    def __call__(self, inputs):
        self.passes.append(len(inputs["x"]))
        time.sleep(self.seconds)
        if (inputs["x"] < 0).any():
            raise ArithmeticError("negative")
        return {"doubled": 2 * inputs["x"], "row": inputs["x"][:, 0]}


def run(network, parameters, work):
    """The result of `work(batcher)` with a batcher in an event loop of its own."""

    async def main():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(network, parameters, executor)
            try:
                return await work(batcher)
            finally:
                await batcher.close()

    return asyncio.run(main())


def rows(*values):
    return {"x": np.array(values, "float32")[:, None]}


def test_requests_that_arrive_together_are_merged_and_padded():
    network = Network()
    parameters = BatchingParameters(max_batch_size=16, allowed_batch_sizes=(1, 4, 16))

    async def work(batcher):
        return await asyncio.gather(*(batcher.submit(rows(i, -0.0 + i)) for i in range(30)))

    answers = run(network, parameters, work)
    for i, answer in enumerate(answers):
        np.testing.assert_array_equal(answer["doubled"], [[2 * i], [2 * i]])
        np.testing.assert_array_equal(answer["row"], [i, i])
    assert network.passes == [16, 16, 16, 16]


def test_a_lone_request_waits_no_longer_than_the_timeout():
    network = Network(0.0)
    parameters = BatchingParameters(max_batch_size=8, batch_timeout_micros=20_000, allowed_batch_sizes=(2, 8))

    async def work(batcher):
        start = time.monotonic()
        answer = await batcher.submit(rows(3))
        return answer, time.monotonic() - start

    answer, waited = run(network, parameters, work)
    np.testing.assert_array_equal(answer["doubled"], [[6]])
    assert network.passes == [2]
    assert 0.015 < waited < 1.0


def test_a_request_that_does_not_fit_goes_into_the_next_pass():
    network = Network()
    parameters = BatchingParameters(max_batch_size=4)

    async def work(batcher):
        return await asyncio.gather(*(batcher.submit(rows(*range(n))) for n in (3, 3, 1)))

    assert [len(answer["row"]) for answer in run(network, parameters, work)] == [3, 3, 1]
    assert network.passes == [3, 4]


def test_a_full_queue_refuses_and_recovers():
    network = Network(0.02)
    parameters = BatchingParameters(max_batch_size=2, max_enqueued_batches=2, batch_timeout_micros=0)

    async def work(batcher):
        tasks = [asyncio.create_task(batcher.submit(rows(i))) for i in range(12)]
        first = await asyncio.gather(*tasks, return_exceptions=True)
        return first, await batcher.submit(rows(5))

    first, later = run(network, parameters, work)
    refused = [answer for answer in first if isinstance(answer, QueueFull)]
    answered = [answer for answer in first if isinstance(answer, dict)]
    assert len(answered) >= 4
    assert refused
    assert len(answered) + len(refused) == 12
    np.testing.assert_array_equal(later["row"], [5])


def test_who_goes_away_is_not_computed_for():
    network = Network(0.05)
    parameters = BatchingParameters(max_batch_size=1, batch_timeout_micros=0)

    async def work(batcher):
        first, second, third = (asyncio.create_task(batcher.submit(rows(i))) for i in range(3))
        await asyncio.sleep(0.02)
        second.cancel()
        return await first, await third

    run(network, parameters, work)
    assert network.passes == [1, 1]


def test_a_failure_reaches_those_who_asked_and_nobody_after_them():
    network = Network()
    parameters = BatchingParameters(max_batch_size=4, batch_timeout_micros=0)

    async def work(batcher):
        with pytest.raises(ArithmeticError):
            await batcher.submit(rows(-1))
        return await batcher.submit(rows(1))

    np.testing.assert_array_equal(run(network, parameters, work)["row"], [1])


def test_the_file_that_ships_is_read_as_tensorflow_serving_reads_it():
    parameters = BatchingParameters.read(DEPLOY / "batching_parameters.txt")
    assert parameters.max_batch_size == parameters.allowed_batch_sizes[-1] == 128
    assert parameters.padded(1) == 1
    assert parameters.padded(33) == 48
    assert parameters.padded(128) == 128


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("max_batch_sise { value: 8 }", "has 'max_batch_sise', which is no batching parameter"),
        ("max_batch_size { value: many }", "has 'max_batch_size'"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "must rise to max_batch_size"),
        ("num_batch_threads: 0", "at least 1"),
    ],
)
def test_a_wrong_file_is_bad_input(tmp_path, text, problem):
    path = tmp_path / "batching_parameters.txt"
    path.write_text(text)
    with pytest.raises(BadInput, match=problem):
        BatchingParameters.read(path)


def test_a_missing_file_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="There is no file"):
        BatchingParameters.read(tmp_path / "batching_parameters.txt")
