"""Requests that arrive together pass through the network together, and each gets its own answer."""

import asyncio
import time

import numpy as np
import pytest

from morph.errors import InputError
from serving.protocol.configuration import BatchingParameters
from serving.savedmodel.export import TEMPLATES
from serving.server.batcher import Batcher, DeadlineExceeded, QueueFull, Threads


class Network:
    """Doubles numbers, slowly, and remembers how many came at once."""

    def __init__(self, seconds: float = 0.01):
        self.seconds, self.passes = seconds, []

    def __call__(self, parts, padding):
        x = np.concatenate([part["x"] for part in parts] + [parts[-1]["x"][-1:]] * padding)
        self.passes.append(len(x))
        time.sleep(self.seconds)
        if (x < 0).any():
            raise ArithmeticError("negative")
        return {"doubled": 2 * x, "row": x[:, 0]}


def run(network, parameters, work):
    """The result of `work(ask)`, where `ask(inputs)` is answered by a batcher in an event loop of its own."""

    async def main():
        threads = Threads(parameters)
        batcher = Batcher(network, threads)

        async def ask(inputs, deadline=None):
            part = await batcher.submit(inputs, len(inputs["x"]), deadline)
            return {name: array[part.start : part.stop] for name, array in part.outputs.items()}

        try:
            return await work(ask)
        finally:
            await asyncio.to_thread(threads.close)

    return asyncio.run(main())


def rows(*values):
    return {"x": np.array(values, "float32")[:, None]}


def test_requests_that_arrive_during_a_pass_are_merged_and_padded():
    network = Network()
    parameters = BatchingParameters(max_batch_size=16, allowed_batch_sizes=(1, 4, 16))

    async def work(ask):
        first = asyncio.create_task(ask(rows(0)))
        await asyncio.sleep(0.005)
        return [await first, *await asyncio.gather(*(ask(rows(i, -0.0 + i)) for i in range(1, 15)))]

    answers = run(network, parameters, work)
    for i, answer in enumerate(answers[1:], 1):
        np.testing.assert_array_equal(answer["doubled"], [[2 * i], [2 * i]])
        np.testing.assert_array_equal(answer["row"], [i, i])
    assert network.passes == [1, 16, 16]


def test_a_lone_request_is_answered_at_once():
    network = Network(0.0)
    parameters = BatchingParameters(max_batch_size=8, batch_timeout_micros=500_000, allowed_batch_sizes=(2, 8))

    async def work(ask):
        start = time.monotonic()
        answer = await ask(rows(3))
        return answer, time.monotonic() - start

    answer, waited = run(network, parameters, work)
    np.testing.assert_array_equal(answer["doubled"], [[6]])
    assert network.passes == [2]
    assert waited < 0.25


def test_a_second_thread_waits_for_company_no_longer_than_the_timeout():
    network = Network(0.5)
    parameters = BatchingParameters(max_batch_size=8, batch_timeout_micros=50_000, num_batch_threads=2)

    async def work(ask):
        async def later(seconds):
            await asyncio.sleep(seconds)
            return await ask(rows(1))

        start = time.monotonic()
        await asyncio.gather(ask(rows(*range(8))), *(later(seconds) for seconds in (0.02, 0.03)))
        return time.monotonic() - start

    assert run(network, parameters, work) < 0.8
    assert sorted(network.passes) == [2, 8]


def after_two_slow_ones(count, parameters):
    """The passes of so many requests that arrive while two threads are busy with one each."""
    network = Network(0.3)

    async def work(ask):
        before = [asyncio.create_task(ask(rows(0))) for _ in range(2)]
        await asyncio.sleep(0.02)
        await asyncio.gather(*before, *(ask(rows(i)) for i in range(count)))

    run(network, parameters, work)
    assert network.passes[:2] == [1, 1]
    return network.passes[2:]


def test_threads_share_what_waits_evenly():
    passes = after_two_slow_ones(60, BatchingParameters(max_batch_size=64, num_batch_threads=2))
    assert sum(passes) == 60
    # Of all that is here; the thread that is free first still counts the other's galaxy.
    assert passes[0] == max(passes) == 20


def test_few_that_wait_are_shared_in_one_pass_each():
    passes = after_two_slow_ones(12, BatchingParameters(max_batch_size=64, num_batch_threads=2))
    assert passes[:2] in ([7, 5], [7, 6])


def test_a_pass_is_padded_only_where_nothing_is_left_to_fill_it():
    sizes = (1, 2, 4, 8, 12, 64)
    passes = after_two_slow_ones(
        43, BatchingParameters(max_batch_size=64, num_batch_threads=2, allowed_batch_sizes=sizes)
    )
    # A share is 15 or 14.
    assert passes[:2] == [12, 12]
    assert sum(passes) - 43 <= 3


def test_a_large_request_is_divided_among_the_threads():
    network = Network(0.3)
    parameters = BatchingParameters(max_batch_size=64, num_batch_threads=3, batch_timeout_micros=0)

    async def work(ask):
        start = time.monotonic()
        answer = await ask(rows(*range(40)))
        return answer, time.monotonic() - start

    answer, spent = run(network, parameters, work)
    np.testing.assert_array_equal(answer["row"], range(40))
    np.testing.assert_array_equal(answer["doubled"][:, 0], 2 * np.arange(40))
    assert sorted(network.passes) == [13, 13, 14]
    assert spent < 0.6


def test_a_divided_request_is_refused_or_fails_as_a_whole():
    network = Network(0.2)
    parameters = BatchingParameters(max_batch_size=32, max_enqueued_batches=1, num_batch_threads=2)

    async def work(ask):
        with pytest.raises(ArithmeticError):
            await ask(rows(*range(31), -1))
        first = asyncio.gather(*(ask(rows(i)) for i in range(20)))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await ask(rows(*range(30)))
        await first

    run(network, parameters, work)
    assert sum(network.passes) == 32 + 20


def test_few_rows_of_padding_are_taken_and_many_are_not():
    network = Network(0.05)
    parameters = BatchingParameters(max_batch_size=48, allowed_batch_sizes=(1, 8, 32, 48))

    async def work(ask):
        first = asyncio.create_task(ask(rows(0)))
        await asyncio.sleep(0.01)
        await asyncio.gather(first, *(ask(rows(i)) for i in range(37)))

    run(network, parameters, work)
    assert network.passes == [1, 32, 8]


def test_a_request_that_does_not_fit_goes_into_the_next_pass():
    network = Network(0.05)
    parameters = BatchingParameters(max_batch_size=4)

    async def work(ask):
        first = asyncio.create_task(ask(rows(0)))
        await asyncio.sleep(0.01)
        return [await first, *await asyncio.gather(*(ask(rows(*range(n))) for n in (3, 3, 1)))]

    assert [len(answer["row"]) for answer in run(network, parameters, work)] == [1, 3, 3, 1]
    assert network.passes == [1, 3, 4]


def test_a_full_queue_refuses_and_recovers():
    network = Network(0.02)
    parameters = BatchingParameters(max_batch_size=2, max_enqueued_batches=2, batch_timeout_micros=0)

    async def work(ask):
        tasks = [asyncio.create_task(ask(rows(i))) for i in range(12)]
        first = await asyncio.gather(*tasks, return_exceptions=True)
        return first, await ask(rows(5))

    first, later = run(network, parameters, work)
    refused = [answer for answer in first if isinstance(answer, QueueFull)]
    answered = [answer for answer in first if isinstance(answer, dict)]
    assert len(answered) >= 4
    assert refused
    assert len(answered) + len(refused) == 12
    np.testing.assert_array_equal(later["row"], [5])


def test_nothing_is_computed_for_a_disconnected_client():
    network = Network(0.05)
    parameters = BatchingParameters(max_batch_size=1, batch_timeout_micros=0)

    async def work(ask):
        first, second, third = (asyncio.create_task(ask(rows(i))) for i in range(3))
        await asyncio.sleep(0.02)
        second.cancel()
        return await first, await third

    run(network, parameters, work)
    assert network.passes == [1, 1]


def test_nothing_is_computed_for_a_disconnected_client_with_a_large_request():
    network = Network(0.5)
    parameters = BatchingParameters(max_batch_size=32, num_batch_threads=2)

    async def work(ask):
        first = asyncio.create_task(ask(rows(*range(32))))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(ask(rows(*range(24))))
        await asyncio.sleep(0.05)
        second.cancel()
        return await first

    np.testing.assert_array_equal(run(network, parameters, work)["row"], range(32))
    assert sorted(network.passes) == [16, 16]


def test_a_request_whose_deadline_passes_in_the_queue_is_not_computed():
    network = Network(0.05)
    parameters = BatchingParameters(max_batch_size=1)

    async def work(ask):
        first = asyncio.create_task(ask(rows(0)))
        await asyncio.sleep(0.01)
        with pytest.raises(DeadlineExceeded):
            await ask(rows(1), time.monotonic() + 0.01)
        return await first

    run(network, parameters, work)
    assert network.passes == [1]


def test_a_failure_reaches_those_who_asked_and_no_later_request():
    network = Network()
    parameters = BatchingParameters(max_batch_size=4, batch_timeout_micros=0)

    async def work(ask):
        with pytest.raises(ArithmeticError):
            await ask(rows(-1))
        return await ask(rows(1))

    np.testing.assert_array_equal(run(network, parameters, work)["row"], [1])


def test_the_file_that_ships_is_read_as_tensorflow_serving_reads_it():
    parameters = BatchingParameters.read(TEMPLATES / "batching_parameters.txt")
    assert parameters.max_batch_size == parameters.allowed_batch_sizes[-1] == 128
    assert parameters.padded(1) == 1
    assert parameters.padded(33) == 48
    assert parameters.padded(128) == 128


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("max_batch_sise { value: 8 }", 'has no field named "max_batch_sise"'),
        ("max_batch_size { value: many }", "is not a BatchingParameters: 1:25"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be at least 0; it is -1"),
        ("enable_large_batch_splitting { value: true }", "only TensorFlow Serving's program has it"),
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "must rise to max_batch_size"),
        ("num_batch_threads { value: 0 }", "at least 1"),
        ("\udcff", "it is not text"),
    ],
)
def test_a_wrong_file_is_bad_input(tmp_path, text, problem):
    path = tmp_path / "batching_parameters.txt"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(InputError, match=problem):
        BatchingParameters.read(path)


def test_what_has_no_effect_here_is_passed_over(tmp_path):
    path = tmp_path / "batching_parameters.txt"
    path.write_text('thread_pool_name { value: "mine" } pad_variable_length_inputs: true max_batch_size { value: 7 }')
    assert BatchingParameters.read(path) == BatchingParameters(max_batch_size=7)


def test_a_missing_file_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        BatchingParameters.read(tmp_path / "batching_parameters.txt")
