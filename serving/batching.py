"""Dynamic batching: requests that arrive together pass through the network together.

The parameters mean what they mean in TensorFlow Serving and come from the same file
(`deploy/batching_parameters.txt`).
"""

import asyncio
import bisect
import re
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morph.errors import BadInput

Tensors = dict[str, np.ndarray]

#: One parameter of the file: `name { value: 8 }` or `name: 8`.
_PARAMETER = re.compile(r"(\w+)\s*(?::\s*(\d+)|\{\s*value\s*:\s*(\d+)\s*\})\s*")


@dataclass(frozen=True)
class BatchingParameters:
    """How requests are merged.

    Attributes
    ----------
    max_batch_size : the most galaxies in one request and in one pass.
    batch_timeout_micros : how long a request waits for company while nothing else runs.
    max_enqueued_batches : how many full batches may wait before requests are refused.
    num_batch_threads : how many passes run at once.
    allowed_batch_sizes : a pass is padded to the next of these; rising, the last is `max_batch_size`.
    """

    max_batch_size: int = 128
    batch_timeout_micros: int = 2000
    max_enqueued_batches: int = 64
    num_batch_threads: int = 1
    allowed_batch_sizes: tuple[int, ...] = ()

    def __post_init__(self):
        sizes = self.allowed_batch_sizes
        if sizes and (sizes[-1] != self.max_batch_size or list(sizes) != sorted(set(sizes))):
            raise BadInput(
                f"allowed_batch_sizes must rise to max_batch_size ({self.max_batch_size}); they are {list(sizes)}."
            )
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} must be at least 1; it is {getattr(self, name)}.")

    @classmethod
    def read(cls, path: str | Path) -> "BatchingParameters":
        """The parameters in a file in TensorFlow Serving's format; those that it leaves out take the values
        above. BadInput when the file is missing or says something else."""
        path = Path(path)
        if not path.is_file():
            raise BadInput(f"There is no file of batching parameters at '{path}'.")
        text = re.sub(r"#.*", "", path.read_text()).strip()
        values: dict[str, int] = {}
        sizes: list[int] = []
        position = 0
        while position < len(text):
            found = _PARAMETER.match(text, position)
            name = found.group(1) if found else text[position:].split(maxsplit=1)[0]
            if not found or name not in cls.__dataclass_fields__:
                known = ", ".join(cls.__dataclass_fields__)
                raise BadInput(f"'{path}' has '{name}', which is no batching parameter; known are {known}.")
            number = int(found.group(2) or found.group(3))
            if name == "allowed_batch_sizes":
                sizes.append(number)
            else:
                values[name] = number
            position = found.end()
        return cls(**values, allowed_batch_sizes=tuple(sizes))

    def padded(self, rows: int) -> int:
        """The size of the pass for so many galaxies."""
        sizes = self.allowed_batch_sizes
        return sizes[bisect.bisect_left(sizes, rows)] if sizes else rows


class QueueFull(Exception):
    """More galaxies wait than `max_enqueued_batches` allows."""


@dataclass(eq=False)
class _Task:
    """One request that waits: its tensors, how many galaxies it holds, and where its answer goes."""

    inputs: Tensors
    rows: int
    answer: asyncio.Future
    since: float


class Batcher:
    """Merges concurrent requests of one signature.

    Parameters
    ----------
    run : the network: named arrays [n, ...] to named arrays [n, ...]; called in a thread of `executor`.
    executor : whose threads run the network; shared by the signatures of a model.

    It lives in the event loop that is running when it is made.
    """

    def __init__(self, run: Callable[[Tensors], Tensors], parameters: BatchingParameters, executor: Executor):
        self._run, self._parameters, self._executor = run, parameters, executor
        self._waiting: deque[_Task] = deque()
        self._rows = 0
        self._arrived = asyncio.Event()
        self._workers = [asyncio.create_task(self._work()) for _ in range(parameters.num_batch_threads)]

    async def submit(self, inputs: Tensors) -> Tensors:
        """The network's answer to `inputs`, whose arrays have between 1 and `max_batch_size` rows.

        Raises QueueFull at once when too much waits, and whatever the network raises. A caller that is
        cancelled (its client went away) takes its galaxies out of the queue.
        """
        rows = len(next(iter(inputs.values())))
        if self._rows + rows > self._parameters.max_enqueued_batches * self._parameters.max_batch_size:
            raise QueueFull
        task = _Task(inputs, rows, asyncio.get_running_loop().create_future(), time.monotonic())
        self._waiting.append(task)
        self._rows += rows
        self._arrived.set()
        return await task.answer

    async def close(self) -> None:
        """Stop the workers. Requests must have been answered before."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            tasks = await self._collect()
            try:
                answers = await loop.run_in_executor(self._executor, self._answer, [task.inputs for task in tasks])
            except Exception as error:  # the network's failure is each caller's, not the worker's
                for task in tasks:
                    if not task.answer.done():
                        task.answer.set_exception(error)
            else:
                for task, answer in zip(tasks, answers, strict=True):
                    if not task.answer.done():
                        task.answer.set_result(answer)

    async def _collect(self) -> list[_Task]:
        """The next requests that run together: as many as fit, waiting for more until the first one's time is
        up. What arrives while the network is busy is there already."""
        tasks: list[_Task] = []
        rows, end = 0, 0.0
        while True:
            while self._waiting and rows + self._waiting[0].rows <= self._parameters.max_batch_size:
                task = self._waiting.popleft()
                self._rows -= task.rows
                if task.answer.done():
                    continue
                if not tasks:
                    end = task.since + self._parameters.batch_timeout_micros * 1e-6
                tasks.append(task)
                rows += task.rows
            if tasks and (self._waiting or rows == self._parameters.max_batch_size):
                return tasks
            self._arrived.clear()
            left = end - time.monotonic() if tasks else None
            if left is not None and left <= 0:
                return tasks
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return tasks

    def _answer(self, parts: list[Tensors]) -> list[Tensors]:
        """Join the requests, pad, run, and cut the answers apart. Runs in the executor's thread."""
        counts = [len(next(iter(part.values()))) for part in parts]
        rows = sum(counts)
        padding = self._parameters.padded(rows) - rows
        joined = {}
        for name in parts[0]:
            arrays = [part[name] for part in parts]
            # Any galaxy does for padding; a copy of one is sure to be a valid input.
            arrays += [np.broadcast_to(arrays[-1][-1:], (padding, *arrays[-1].shape[1:]))] if padding else []
            joined[name] = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
        outputs = self._run(joined)
        ends = np.cumsum(counts)
        return [
            {name: array[end - count : end] for name, array in outputs.items()}
            for count, end in zip(counts, ends, strict=True)
        ]
