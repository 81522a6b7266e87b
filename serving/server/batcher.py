"""Dynamic batching: requests that arrive together pass through the network together.

A thread takes its next batch itself, without the event loop, so that no time is lost between two passes: while one
runs, the loop receives the requests of the next. Several threads share the queue evenly: parallel passes never wait
for each other, as the threads within one pass do at every layer. A pass is padded only when the queue cannot fill it.
"""

import asyncio
import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from serving.protocol.configuration import BatchingParameters

Tensors = Mapping[str, np.ndarray]

#: Smaller passes take longer per galaxy, so neither a request nor the queue is divided into smaller ones.
WORTH_DIVIDING = 8

#: With several threads, the galaxies at hand make so many passes for each. With one pass, a request that comes a
#: moment too late waits for a whole long pass; with two, small passes cost more than they save.
PASSES = 1.6

#: The network: the inputs of several requests and the rows of padding to add, to the outputs of all rows.
Run = Callable[[Sequence[Tensors], int], dict[str, np.ndarray]]


class QueueFull(Exception):
    """More galaxies are queued than `max_enqueued_batches` allows."""


class DeadlineExceeded(Exception):
    """A request's deadline passed while it waited."""


@dataclass(frozen=True, slots=True)
class Part:
    """One request's share of a pass: rows `start` to `stop` of `outputs`; seconds in the queue and in the network."""

    outputs: dict[str, np.ndarray]
    start: int
    stop: int
    queue: float
    compute: float

    def cut(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Its rows of the outputs with these names."""
        return {name: self.outputs[name][self.start : self.stop] for name in names}

    @classmethod
    def joined(cls, parts: Sequence["Part"]) -> "Part":
        """The share of a request that was divided, of its parts in their order."""
        cuts = [part.cut(tuple(part.outputs)) for part in parts]
        outputs = {name: np.concatenate([cut[name] for cut in cuts]) for name in cuts[0]}
        rows = sum(part.stop - part.start for part in parts)
        return cls(outputs, 0, rows, max(part.queue for part in parts), max(part.compute for part in parts))


@dataclass(eq=False, slots=True)
class _Task:
    """A queued request, or a part of one."""

    inputs: Tensors
    rows: int
    answer: asyncio.Future
    since: float
    deadline: float | None


class Threads:
    """The threads that run the network, shared by every signature of every version.

    They belong to the event loop that is running when they are made; answers are given there.
    """

    def __init__(self, parameters: BatchingParameters):
        self.parameters = parameters
        self.loop = asyncio.get_running_loop()
        self.changed = threading.Condition()
        #: Galaxies in all queues, and in the passes that run.
        self.rows, self.computing = 0, 0
        #: The queues with requests, in the order of their turns.
        self.waiting: deque[Batcher] = deque()
        #: Called for every pass, in the event loop, with its galaxies and rows of padding.
        self.observers: list[Callable[[int, int], None]] = []
        self._running, self._closed = 0, False
        self._threads = [
            threading.Thread(target=self._work, name=f"morph-network-{i}", daemon=True)
            for i in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def full(self) -> bool:
        """Whether so much waits that one queue would take no more; then a request need not even be read."""
        return self.rows >= self.parameters.max_enqueued_batches * self.parameters.max_batch_size

    @property
    def share(self) -> int:
        """As many galaxies as every pass gets of those that are here; a thread does not wait for more."""
        return self._fair(PASSES)

    @property
    def most(self) -> int:
        """The most galaxies for one pass."""
        return max(self.share, min(self._fair(1), WORTH_DIVIDING))

    def _fair(self, passes: float) -> int:
        threads = self.parameters.num_batch_threads
        fair = math.ceil((self.rows + self.computing) / (passes * threads if threads > 1 else 1))
        return min(fair, self.parameters.max_batch_size)

    def close(self) -> None:
        """Answer the queued requests, and end."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self.changed:
                batcher, batch = self._next()
                if batcher is None:
                    return
                rows = sum(task.rows for task in batch or ())
                self._running += 1
                self.computing += rows
            if batch:
                batcher.run_batch(batch)
            with self.changed:
                self._running -= 1
                self.computing -= rows
                # A request that waited for others only because this pass ran need not wait any longer.
                self.changed.notify()

    def _next(self) -> "tuple[Batcher, list[_Task]] | tuple[None, None]":
        """Wait for the next batch, which may turn out empty. None when the threads are to end."""
        while True:
            if self.waiting:
                batcher = self.waiting[0]
                wait = 0.0 if self._closed or not self._running else batcher.remaining_wait()
                if wait <= 0:
                    self.waiting.popleft()
                    batch = batcher.take()
                    if batcher.tasks:
                        self.waiting.append(batcher)
                    return batcher, batch
                self.changed.wait(wait)
            elif self._closed:
                return None, None
            else:
                self.changed.wait()


@dataclass(eq=False)
class Batcher:
    """Merges concurrent requests of one signature of one version.

    Parameters
    ----------
    run : the network.
    threads : that run it.
    """

    run: Run
    threads: Threads
    tasks: deque[_Task] = field(default_factory=deque)
    rows: int = 0

    async def submit(self, inputs: Tensors, rows: int, deadline: float | None = None) -> Part:
        """The network's answer to a request; if it is cancelled, because its client disconnected, its galaxies leave
        the queue without being computed.

        Parameters
        ----------
        inputs : arrays with the same number of rows each.
        rows : that number, between 1 and `max_batch_size`.
        deadline : on `time.monotonic`'s clock.

        Returns
        -------
        The request's part of one or more passes.

        Raises
        ------
        QueueFull : at once, when the queue is full.
        DeadlineExceeded : when the deadline passes before the request's turn.
        Exception : any error of the network.
        """
        parameters, tasks = self.threads.parameters, self._divided(inputs, rows, deadline)
        with self.threads.changed:
            if self.rows + rows > parameters.max_enqueued_batches * parameters.max_batch_size:
                raise QueueFull
            if not self.tasks:
                self.threads.waiting.append(self)
            self.tasks.extend(tasks)
            self.rows += rows
            self.threads.rows += rows
            self.threads.changed.notify(len(tasks))
        if len(tasks) == 1:
            return await tasks[0].answer
        return Part.joined(await asyncio.gather(*(task.answer for task in tasks)))

    def _divided(self, inputs: Tensors, rows: int, deadline: float | None) -> list[_Task]:
        """A request as one task, or as one for every thread where it is large."""
        loop, now = self.threads.loop, time.monotonic()
        pieces = max(1, min(self.threads.parameters.num_batch_threads, rows // WORTH_DIVIDING))
        ends = [rows * i // pieces for i in range(pieces + 1)]
        return [
            _Task(_rows(inputs, start, stop), stop - start, loop.create_future(), now, deadline)
            for start, stop in itertools.pairwise(ends)
        ]

    def remaining_wait(self) -> float:
        """Seconds that the first request may still wait for others; 0 when there are enough."""
        if self.rows >= self.threads.share:
            return 0.0
        return self.tasks[0].since + self.threads.parameters.batch_timeout_micros * 1e-6 - time.monotonic()

    def take(self) -> list[_Task]:
        """Take the requests of the next batch from the queue, without those whose client stopped waiting."""
        parameters, now = self.threads.parameters, time.monotonic()
        most = self.threads.most
        wanted = parameters.without_much_padding(self.rows) if self.rows <= most else parameters.unpadded(most)
        batch: list[_Task] = []
        rows = 0
        while self.tasks and (not batch or rows + self.tasks[0].rows <= wanted):
            task = self.tasks.popleft()
            self.rows -= task.rows
            self.threads.rows -= task.rows
            if task.answer.done():
                continue
            if task.deadline is not None and task.deadline < now:
                self._call_in_loop(_fail, [task], DeadlineExceeded())
                continue
            batch.append(task)
            rows += task.rows
        return batch

    def run_batch(self, batch: list[_Task]) -> None:
        """Run the network on a batch and give the answers. Called by a thread of the network."""
        start, rows = time.monotonic(), sum(task.rows for task in batch)
        padding = self.threads.parameters.padded(rows) - rows
        try:
            outputs = self.run([task.inputs for task in batch], padding)
        except Exception as error:  # it is the callers' error, and the thread goes on
            self._call_in_loop(_fail, batch, error)
        else:
            compute = time.monotonic() - start
            # Before the answers, so that a client with an answer finds it counted.
            for observer in self.threads.observers:
                self._call_in_loop(observer, rows, padding)
            self._call_in_loop(_answer, batch, outputs, start, compute)

    def _call_in_loop(self, what: Callable, *arguments) -> None:
        self.threads.loop.call_soon_threadsafe(what, *arguments)


def _rows(inputs: Tensors, start: int, stop: int) -> Tensors:
    return {name: array[start:stop] for name, array in inputs.items()}


def _answer(batch: list[_Task], outputs: dict[str, np.ndarray], start: float, compute: float) -> None:
    row = 0
    for task in batch:
        if not task.answer.done():
            task.answer.set_result(Part(outputs, row, row + task.rows, start - task.since, compute))
        row += task.rows


def _fail(batch: list[_Task], error: Exception) -> None:
    for task in batch:
        if not task.answer.done():
            task.answer.set_exception(error)
