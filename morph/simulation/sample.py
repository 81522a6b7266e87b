"""A labelled set of simulated galaxies, cut out and measured exactly as real images are."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from morph.checks import check_memory
from morph.dataset import Galaxies, GalaxiesWriter, Galaxy
from morph.errors import InputError
from morph.fits.resampling import resample
from morph.parallel import process_pool
from morph.simulation.observe import Observation, observe
from morph.simulation.population import draw_scene, get_mix
from morph.simulation.scenes import Scene
from morph.simulation.votes import answer_probabilities, draw_votes
from morph.sizes import FIELD, NETWORK_SIZE, STAMP_SIZE
from morph.stamps.photometry import measure
from morph.surveys import Survey, get_simulated
from morph.votes import RAW

#: Galaxies a worker makes at a time, and the least number of batches for which starting workers pays.
BATCH = 32
WORTH_WORKERS = 4

#: Where a sample's galaxies are put on the sky: nowhere that matters, but inside the survey's footprint.
SKY = {"sdss": (120.0, 240.0, 0.0, 60.0), "des": (0.0, 60.0, -55.0, -5.0)}


@dataclass(frozen=True)
class Simulated:
    """One simulated galaxy: what a survey sees of it, with what volunteers say, and what it is."""

    galaxy: Galaxy
    scene: Scene


def simulate_galaxy(
    seed: int, index: int, survey: Survey, mix: str = "survey", population: Survey | None = None
) -> Simulated:
    """Galaxy number `index` of the sample with this seed.

    The scene, the observation and the votes have seeds of their own: two surveys that look at one `population`
    (that of `survey` if not given) with one seed see the same galaxies.
    """
    scene = draw_scene(np.random.default_rng([seed, index, 0]), population or survey, get_mix(mix))
    return observe_scene(scene, survey, seed, index)


def observe_scene(scene: Scene, survey: Survey, seed: int, index: int) -> Simulated:
    """`scene` as a dataset's row: observed by `survey`, cut to its size, with votes."""
    observation, stamp, radius = _stamp(scene, survey, [seed, index, 1])
    rng = np.random.default_rng([seed, index, 2])
    probabilities = answer_probabilities(scene, survey)
    left, right, bottom, top = SKY.get(survey.name, SKY["des"])
    g, r, i = observation.magnitudes
    galaxy = Galaxy(
        id=f"sim-{survey.name}-{seed}-{index:06d}",
        survey=survey.name,
        image=stamp,
        votes=draw_votes(probabilities, rng),
        ra=rng.uniform(left, right),
        dec=float(np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(bottom)), np.sin(np.radians(top)))))),
        properties={
            "mag_g": g,
            "mag_r": r,
            "mag_i": i,
            "radius": radius * survey.pixel_scale,
            "redshift": scene.redshift,
            "pixel_scale": FIELD * radius / NETWORK_SIZE * survey.pixel_scale,
        },
        vote_kind=RAW,
    )
    return Simulated(galaxy, scene)


def _stamp(scene: Scene, survey: Survey, seed: list[int]) -> tuple[Observation, np.ndarray, float]:
    """Observe, measure and cut; where the galaxy turns out larger than its field, look again at a wider one."""
    observation = observe(scene, survey, np.random.SeedSequence(seed))
    shape = measure(observation.image.sum(axis=-1))
    side = FIELD * shape.radius * STAMP_SIZE / NETWORK_SIZE
    height = observation.image.shape[0]
    if side > height and not scene.artifact:
        wider = min(1.3 * side, 3 * height) * survey.pixel_scale
        observation = observe(scene, survey, np.random.SeedSequence(seed), field=wider)
        shape = measure(observation.image.sum(axis=-1))
        side = FIELD * shape.radius * STAMP_SIZE / NETWORK_SIZE
        height = observation.image.shape[0]
    # As with a picture that its galaxy fills, no crop reaches outside the field.
    side = min(side, float(height))
    half = (side - 1) / 2
    x, y = np.clip((shape.x, shape.y), half, height - 1 - half)
    stamp = resample(observation.image, float(x), float(y), side, STAMP_SIZE)
    return observation, stamp, side * NETWORK_SIZE / (FIELD * STAMP_SIZE)


def _batch(task: tuple[int, range, str, str, str]) -> list[Galaxy]:
    seed, indices, survey, mix, population = task
    camera, source = get_simulated(survey), get_simulated(population)
    return [simulate_galaxy(seed, index, camera, mix, source).galaxy for index in indices]


def simulate_galaxies(
    path: str | Path,
    n: int,
    survey: str = "sdss",
    seed: int = 0,
    processes: int | None = None,
    progress: bool = True,
    mix: str = "survey",
    population: str | None = None,
) -> Galaxies:
    """Write `n` simulated galaxies as a flux dataset and return it.

    Parameters
    ----------
    path : the dataset's folder; it appears whole or not at all.
    survey : whose camera looks at them, a name in `morph.surveys.SIMULATED`.
    seed : galaxy `i` of a seed is always the same, however many are made and by however many processes.
    processes : two if not given; 1 stays in this process.
    mix : "survey", as volunteers meet them, or "balanced", rich in bars, rings, arms, edge-on disks and mergers.
    population : the survey whose galaxies these are, if it is not `survey` itself; the same seed then makes the
        same galaxies seen by two cameras.

    In a script, call this below ``if __name__ == "__main__":``, as everything that starts processes.

    Raises InputError on an unknown survey or mix, on `n` < 1, and if `path` exists and is no dataset.
    """
    camera, source = get_simulated(survey), get_simulated(population or survey)
    get_mix(mix)
    if n < 1:
        raise InputError(f"The number of galaxies is {n}; it must be at least 1.")
    check_memory(images=4.0 * n * STAMP_SIZE**2 * len(camera.bands))
    about = {
        "simulated": True,
        "source": "morph simulate",
        "votes": RAW,
        "seed": seed,
        "survey": camera.name,
        "population": source.name,
        "mix": mix,
    }
    console = Console(stderr=True)
    with (
        GalaxiesWriter(path, "flux", STAMP_SIZE, about) as writer,
        Progress(console=console, transient=True, disable=not (progress and console.is_terminal)) as bar,
    ):
        task = bar.add_task(f"simulating {camera.name} galaxies", total=n)
        for batch in _batches(n, processes or 2, seed, camera.name, mix, source.name):
            for galaxy in batch:
                writer.add(galaxy)
            bar.advance(task, len(batch))
    return Galaxies.open(path)


def _batches(n: int, processes: int, seed: int, survey: str, mix: str, population: str) -> Iterator[list[Galaxy]]:
    tasks = [(seed, range(k, min(k + BATCH, n)), survey, mix, population) for k in range(0, n, BATCH)]
    if processes == 1 or len(tasks) < WORTH_WORKERS:
        yield from map(_batch, tasks)
        return
    with process_pool(processes) as pool:
        yield from pool.map(_batch, tasks)
