"""A labelled set of simulated galaxies, cut out and measured exactly as real images are."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from morph.checks import check_memory
from morph.console import track
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

#: Galaxies that a process makes at a time, and the fewest batches for which starting processes pays.
BATCH = 32
FEWEST_BATCHES = 4

#: Ranges of right ascension and declination (deg), inside each survey's footprint, for a sample's coordinates.
SKY = {"sdss": (120.0, 240.0, 0.0, 60.0), "des": (0.0, 60.0, -55.0, -5.0)}


@dataclass(frozen=True)
class Simulated:
    """One simulated galaxy as a survey observes it, with the volunteers' votes, and its scene."""

    galaxy: Galaxy
    scene: Scene


def simulate_galaxy(
    seed: int, index: int, survey: Survey, mix: str = "survey", population: Survey | None = None
) -> Simulated:
    """Galaxy number `index` of the sample with this seed.

    The scene, the observation and the votes have seeds of their own: two surveys that observe one `population` with
    one seed observe the same galaxies.

    Parameters
    ----------
    seed, index : the sample's seed, and the galaxy's number in it.
    survey : the survey that observes it.
    mix : as for `simulate_galaxies`.
    population : the survey whose galaxies these are; `survey` if not given.

    Returns
    -------
    Simulated
    """
    scene = draw_scene(np.random.default_rng([seed, index, 0]), population or survey, get_mix(mix))
    return observe_scene(scene, survey, seed, index)


def observe_scene(scene: Scene, survey: Survey, seed: int, index: int) -> Simulated:
    """Observe a scene, cut it to its size, and add votes: a dataset's row.

    Parameters
    ----------
    scene : the galaxy.
    survey : the survey that observes it.
    seed, index : the sample's seed, and the galaxy's number in it.

    Returns
    -------
    Simulated
    """
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
    """Observe, measure and cut; a galaxy that is larger than its field is observed again in a wider one."""
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
    observer, source = get_simulated(survey), get_simulated(population)
    return [simulate_galaxy(seed, index, observer, mix, source).galaxy for index in indices]


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
    n : how many.
    survey : the survey to simulate, a name in `morph.surveys.SIMULATED`.
    seed : galaxy `i` of a seed is always the same, however many are made and by however many processes.
    processes : two if not given; 1 stays in this process.
    progress : whether to show a progress bar on a terminal.
    mix : "survey", as volunteers meet them, or "balanced", rich in bars, rings, arms, edge-on disks and mergers.
    population : the survey whose galaxies these are, if it is not `survey` itself; with the same seed, two
        surveys then observe the same galaxies.

    Returns
    -------
    Galaxies

    Raises
    ------
    InputError : an unknown survey or mix, `n` < 1, or a `path` that exists and is not a dataset.

    Notes
    -----
    In a script, call this below ``if __name__ == "__main__":``, since it starts processes.
    """
    observer, source = get_simulated(survey), get_simulated(population or survey)
    get_mix(mix)
    if n < 1:
        raise InputError(f"The number of galaxies is {n}; it must be at least 1.")
    check_memory(images=4.0 * n * STAMP_SIZE**2 * len(observer.bands))
    about = {
        "simulated": True,
        "source": "morph simulate",
        "votes": RAW,
        "seed": seed,
        "survey": observer.name,
        "population": source.name,
        "mix": mix,
    }
    batches = _batches(n, processes or 2, seed, observer.name, mix, source.name)
    made = track(chain.from_iterable(batches), f"simulating {observer.name} galaxies", n, show=progress)
    with GalaxiesWriter(path, "flux", STAMP_SIZE, about) as writer:
        for galaxy in made:
            writer.add(galaxy)
    return Galaxies.open(path)


def _batches(n: int, processes: int, seed: int, survey: str, mix: str, population: str) -> Iterator[list[Galaxy]]:
    tasks = [(seed, range(k, min(k + BATCH, n)), survey, mix, population) for k in range(0, n, BATCH)]
    if processes == 1 or len(tasks) < FEWEST_BATCHES:
        yield from map(_batch, tasks)
        return
    with process_pool(processes) as pool:
        yield from pool.map(_batch, tasks)
