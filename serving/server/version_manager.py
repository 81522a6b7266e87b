"""Loads and unloads versions as their folders change: load beside the old one, warm up, switch, drain, unload."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from morph.parallel import threads_allowed
from serving.savedmodel.export import versions
from serving.savedmodel.servable import Location, Servable, StatusError
from serving.server.batcher import Batcher, Threads
from serving.server.configuration import ModelConfig
from serving.server.models import Models, Version, VersionStatus

log = logging.getLogger("morph.serving")

#: How often a version that could not be loaded is tried again, and after how many seconds, as in TensorFlow Serving:
#: its disk may have been unavailable, or memory short. Changed files are tried at once.
RETRIES, RETRY_AFTER = 5, 60.0

#: Path, size and time of change of each file in a folder.
Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class _Failure:
    """Failed attempts to load a version: its files then, their number, and the time of the last (`time.monotonic`)."""

    files: Fingerprint
    times: int
    since: float

    def applies(self, files: Fingerprint) -> bool:
        """Whether another attempt with these files is not yet, or no longer, worth it."""
        return files == self.files and (self.times > RETRIES or time.monotonic() < self.since + RETRY_AFTER)


def fingerprint(folder: Path) -> Fingerprint:
    """The files of a version now; they change while they are being copied."""
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            status = path.stat()
        except OSError:  # deleted meanwhile
            continue
        if not path.is_dir():
            found.append((str(path.relative_to(folder)), status.st_size, status.st_mtime_ns))
    return tuple(found)


@dataclass
class VersionManager:
    """Keeps the loaded versions of `models` in agreement with the configuration and the folders.

    Parameters
    ----------
    models : to which versions are added and from which they are taken.
    threads : that run the network.
    configs : the models to serve; `replace` gives others.
    changed : called when a version has come or gone.
    attempted : called with a version's folder and whether it could be loaded.
    """

    models: Models
    threads: Threads
    configs: list[ModelConfig]
    changed: Callable[[], None] = lambda: None
    attempted: Callable[[Path, bool], None] = lambda folder, loaded: None
    _files: dict[Path, Fingerprint] = field(default_factory=dict)
    _failures: dict[Path, _Failure] = field(default_factory=dict)
    _unloading: set[asyncio.Task] = field(default_factory=set)

    def __post_init__(self):
        self._lock = asyncio.Lock()
        self._loader = ThreadPoolExecutor(1, "morph-loading")
        self._apply(self.configs)

    def _apply(self, configs: list[ModelConfig]) -> None:
        self.configs = configs
        self.models.configure({config.name: config.labels for config in configs})

    async def watch(self, seconds: float) -> None:
        """Poll the folders every so many seconds, until cancelled."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.poll()
            except OSError as error:  # a folder on another machine may be away for a while
                log.warning("The folders of the models cannot be read now: %s", error)
            except Exception:  # polling goes on after any error
                log.exception("The search for versions of the models failed; the next one follows as usual.")

    async def poll(self, at_once: Collection[str] = ()) -> None:
        """Load and unload what the folders ask for.

        A new version is loaded when two polls find the same files, because they may still be being copied; those of
        the models `at_once` are loaded now.
        """
        async with self._lock:
            for config in self.configs:
                await self._update(config, config.name in at_once)
            for name in set(self.models.names) - {config.name for config in self.configs}:
                for version in self.models.loaded(name):
                    self._retire(version)

    async def replace(self, configs: list[ModelConfig]) -> None:
        """Serve other models. StatusError where a label cannot be moved, with the old models served as before, and
        where a new model has no version that can be loaded."""
        for config in configs:
            for label, number in config.labels.items():
                old = self.models.labels(config.name).get(label, number)
                available = {version.number for version in self.models.loaded(config.name)}
                if number != old and number not in available:
                    raise StatusError(
                        "FAILED_PRECONDITION",
                        f"Request to assign label to version {number} of model {config.name}, "
                        "which is not currently available for inference",
                    )
        async with self._lock:
            new = {config.name for config in configs} - set(self.models.names)
            self._apply(configs)
        await self.poll(at_once=new)
        if missing := sorted(name for name in new if not self.models.loaded(name)):
            named = ", ".join(f"{{name: {name} version: latest}}" for name in missing)
            raise StatusError("UNKNOWN", f"Some models did not become available: {{{named}}}")

    async def close(self) -> None:
        """Unload everything. Requests must have been answered before."""
        for name in self.models.names:
            for version in self.models.loaded(name):
                self._retire(version)
        await asyncio.gather(*self._unloading)
        self._loader.shutdown()

    async def _update(self, config: ModelConfig, at_once: bool) -> None:
        if not await asyncio.to_thread(config.base_path.is_dir):
            # As in TensorFlow Serving: while a folder is unavailable, its versions are served on.
            log.warning("The folder of %s is missing: %s", config.name, config.base_path)
            return
        found = await asyncio.to_thread(versions, config.base_path)
        wanted = config.policy.choose(found)
        loaded = {version.number: version for version in self.models.loaded(config.name)}
        pending = []
        for number in wanted:
            if number not in loaded and not await self._load(config, number, at_once):
                pending.append(number)
        for status in self.models.states(config.name):
            if status.state == "START" and status.version not in wanted:  # an abandoned copy
                self.models.set_state(config.name, VersionStatus(status.version, "END"))
        # The old version serves until the new one does.
        if not pending or not wanted:
            for version in self.models.loaded(config.name):
                if version.number not in wanted:
                    self._retire(version)

    async def _load(self, config: ModelConfig, number: int, at_once: bool) -> bool:
        """Load a version; False where it is not to be loaded yet, or cannot be."""
        location = Location(config.base_path, number)
        files = await asyncio.to_thread(fingerprint, location.folder)
        before, self._files[location.folder] = self._files.get(location.folder), files
        failure = self._failures.get(location.folder)
        if failure and failure.applies(files):
            return False
        if files != before and not at_once:
            self.models.set_state(config.name, VersionStatus(number, "START"))
            return False
        self.models.set_state(config.name, VersionStatus(number, "LOADING"))
        loop = asyncio.get_running_loop()
        try:
            servable = await loop.run_in_executor(self._loader, self._read, location)
            self._require_compatible(config.name, number, servable)
        except Exception as error:  # the other versions are served on
            status = error.status if isinstance(error, StatusError) else "UNKNOWN"
            sentence = str(error).strip() or type(error).__name__
            log.error("Version %d of %s is refused: %s", number, config.name, sentence.splitlines()[0])
            times = failure.times if failure and failure.files == files else 0
            self._failures[location.folder] = _Failure(files, times + 1, time.monotonic())
            self.models.set_state(config.name, VersionStatus(number, "END", status, sentence))
            self.attempted(location.folder, False)
            return False
        self._failures.pop(location.folder, None)
        batchers = {
            name: Batcher(signature.run_together, self.threads) for name, signature in servable.signatures.items()
        }
        self.models.add(Version(config.name, number, servable, batchers))
        log.info("Version %d of %s is available.", number, config.name)
        self.attempted(location.folder, True)
        self.changed()
        return True

    def _read(self, location: Location) -> Servable:
        parameters = self.threads.parameters
        # Two passes with a core each do more than one after the other with both.
        cores = max(1, threads_allowed() // parameters.num_batch_threads)
        servable = Servable(location, parameters.max_batch_size, cores)
        servable.warm_up()
        return servable

    def _require_compatible(self, name: str, number: int, servable: Servable) -> None:
        """StatusError where clients of the version before could not use this one. A later version does not count:
        going back to an older one is deliberate."""
        for running in [version for version in self.models.loaded(name) if version.number < number][-1:]:
            for key, signature in running.servable.signatures.items():
                mine = servable.signatures.get(key)
                if mine is None or not mine.covers(signature):
                    what = "lacks" if mine is None else "changes the inputs or outputs of"
                    raise StatusError(
                        "FAILED_PRECONDITION",
                        f"it {what} the signature '{key}' of version {running.number}; export it under another name.",
                    )

    def _retire(self, version: Version) -> None:
        """Send no more requests to a version, and unload it when its last is answered."""
        self.models.remove(version)
        self.changed()
        task = asyncio.create_task(self._unload(version))
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

    async def _unload(self, version: Version) -> None:
        await version.drained()
        await asyncio.get_running_loop().run_in_executor(self._loader, version.servable.close)
        # It may have been loaded again meanwhile.
        if version.number not in {loaded.number for loaded in self.models.loaded(version.name)}:
            self.models.set_state(version.name, VersionStatus(version.number, "END"))
        log.info("Version %d of %s is unloaded.", version.number, version.name)
