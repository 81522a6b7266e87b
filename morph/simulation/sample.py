"""A labelled set of simulated galaxies, cut out and measured exactly as real images are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from morph.checks import check_memory
from morph.console import track
from morph.dataset import Galaxies
from morph.dataset_writer import GalaxiesWriter, Galaxy
from morph.errors import InputError
from morph.fits.resampling import resample
from morph.parallel import process_pool
from morph.simulation.observe import Observation, observe, usual_field
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
    seed: int,
    index: int,
    survey: Survey,
    mix: str = "survey",
    population: Survey | None = None,
    size: int = STAMP_SIZE,
) -> Simulated:
    """Galaxy number `index` of the sample with this seed.

    The scene, the observation, the votes and the place have seeds of their own: two surveys that observe one
    `population` with one seed observe the same galaxies, with the same ids at the same places, each with its own
    seeing, noise, pixels, bands and neighbours.

    Parameters
    ----------
    seed, index : the sample's seed, and the galaxy's number in it.
    survey : the survey that observes it.
    mix : as for `simulate_galaxies`.
    population : the survey whose galaxies these are; `survey` if not given.
    size : pixels on a side of the stamp.
    """
    population = population or survey
    scene = draw_scene(np.random.default_rng([seed, index, 0]), population, get_mix(mix))
    return observe_scene(scene, survey, seed, index, population, size)


def observe_scene(
    scene: Scene, survey: Survey, seed: int, index: int, population: Survey | None = None, size: int = STAMP_SIZE
) -> Simulated:
    """Observe a scene, cut it to its size, and add votes: a dataset's row.

    Parameters
    ----------
    scene : the galaxy.
    survey : the survey that observes it.
    seed, index : the sample's seed, and the galaxy's number in it.
    population : the survey whose galaxy it is; `survey` if not given.
    size : pixels on a side of the stamp.
    """
    observation, radius, cut = _observed(scene, survey, [seed, index, 1], size)
    rng = np.random.default_rng([seed, index, 2])
    probabilities = answer_probabilities(scene, survey)
    source = (population or survey).name
    ra, dec = _place(source, np.random.default_rng([seed, index, 3]))
    g, r, i = observation.magnitudes
    galaxy = Galaxy(
        id=f"sim-{source}-{seed}-{index:06d}",
        survey=survey.name,
        image=cut(observation.image),
        votes=draw_votes(probabilities, rng),
        ra=ra,
        dec=dec,
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


def noiseless(galaxies: Galaxies) -> np.ndarray:
    """The stamps of simulated galaxies without noise and residual sky: float32 [n, size, size, 3].

    They are simulated once more, from the seed in each galaxy's id. InputError where that gives another galaxy, as for
    a sample of an earlier version of morph.
    """
    about = galaxies.about
    try:
        observer, source = get_simulated(about["survey"]), get_simulated(about["population"])
        mix = get_mix(about["mix"])
        numbers = [[int(part) for part in name.split("-")[-2:]] for name in galaxies.ids]
    except (KeyError, ValueError):
        raise InputError(f"'{about.get('path')}' was not made by `morph simulate galaxies`.") from None
    stamps = np.empty((len(galaxies), galaxies.size, galaxies.size, 3), dtype="float32")
    for stamp, galaxy, (seed, index) in zip(stamps, galaxies, numbers, strict=True):
        scene = draw_scene(np.random.default_rng([seed, index, 0]), source, mix)
        observation, _, cut = _observed(scene, observer, [seed, index, 1], galaxies.size)
        if not np.allclose(cut(observation.image), galaxy.image, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise InputError(f"'{about.get('path')}' is of another version of morph; simulate it anew.")
        stamp[:] = cut(observation.truth)
    return stamps


def _place(survey: str, rng: np.random.Generator) -> tuple[float, float]:
    """A place in a survey's footprint: ra, dec in degrees."""
    left, right, bottom, top = SKY.get(survey, SKY["des"])
    low, high = np.sin(np.radians((bottom, top)))
    return rng.uniform(left, right), float(np.degrees(np.arcsin(rng.uniform(low, high))))


def _observed(
    scene: Scene, survey: Survey, seed: list[int], size: int
) -> tuple[Observation, float, Callable[[np.ndarray], np.ndarray]]:
    """An observation, the galaxy's radius in it, and what cuts its stamp; a galaxy that is larger than its field is
    observed again in a wider one."""
    times = size / NETWORK_SIZE
    field = usual_field(scene, survey) * max(size / STAMP_SIZE, 1.0)
    observation = observe(scene, survey, np.random.SeedSequence(seed), field=field)
    radius, x, y = _measured(observation)
    height = observation.image.shape[0]
    if FIELD * radius * times > height and not scene.artifact:
        wider = min(1.3 * FIELD * radius * times, 3 * height) * survey.pixel_scale
        observation = observe(scene, survey, np.random.SeedSequence(seed), field=wider)
        radius, x, y = _measured(observation)
        height = observation.image.shape[0]
    # As with a picture that its galaxy fills, the network's view does not reach outside the field. An artifact has
    # no size to keep, and its whole stamp stays inside.
    within = times if scene.artifact else 1.0
    radius = min(radius, height / (FIELD * within))
    half = (FIELD * radius * within - 1) / 2
    x, y = np.clip((x, y), half, height - 1 - half)
    return observation, radius, lambda image: resample(image, float(x), float(y), FIELD * radius * times, size)


def _measured(observation: Observation) -> tuple[float, float, float]:
    """Half-light radius and place of what was observed, pixels."""
    shape = measure(observation.image.sum(axis=-1))
    return shape.radius, shape.x, shape.y


def _batch(task: tuple[int, range, str, str, str, int]) -> list[Galaxy]:
    seed, indices, survey, mix, population, size = task
    observer, source = get_simulated(survey), get_simulated(population)
    return [simulate_galaxy(seed, index, observer, mix, source, size).galaxy for index in indices]


def simulate_galaxies(
    path: str | Path,
    n: int,
    survey: str = "sdss",
    seed: int = 0,
    processes: int | None = None,
    progress: bool = True,
    mix: str = "survey",
    population: str | None = None,
    size: int = STAMP_SIZE,
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
    population : the survey whose galaxies these are, if it is not `survey` itself; with the same seed and mix, two
        surveys then observe the same galaxies under the same ids.
    size : pixels on a side of the stamps.

    Raises
    ------
    InputError : an unknown survey or mix, `n` < 1, or a `path` that exists and is not a dataset.

    Examples
    --------
    In a script, below ``if __name__ == "__main__":``, since it starts processes.

    >>> galaxies = simulate_galaxies("sample", 2, survey="des", processes=1, progress=False)
    >>> galaxies.ids.tolist()
    ['sim-des-0-000000', 'sim-des-0-000001']
    """
    observer, source = get_simulated(survey), get_simulated(population or survey)
    get_mix(mix)
    if n < 1:
        raise InputError(f"The number of galaxies is {n}; it must be at least 1.")
    check_memory(images=4.0 * n * size**2 * len(observer.bands))
    about = {"simulated": True, "source": "morph simulate", "votes": RAW, "seed": seed, "mix": mix}
    about |= {"survey": observer.name, "population": source.name}
    batches = _batches(n, processes or 2, seed, observer.name, mix, source.name, size)
    made = track(chain.from_iterable(batches), f"simulating {observer.name} galaxies", n, show=progress)
    with GalaxiesWriter(path, "flux", size, about) as writer:
        for galaxy in made:
            writer.add(galaxy)
    return Galaxies.open(path)


def _batches(
    n: int, processes: int, seed: int, survey: str, mix: str, population: str, size: int
) -> Iterator[list[Galaxy]]:
    tasks = [(seed, range(k, min(k + BATCH, n)), survey, mix, population, size) for k in range(0, n, BATCH)]
    if processes == 1 or len(tasks) < FEWEST_BATCHES:
        yield from map(_batch, tasks)
        return
    with process_pool(processes) as pool:
        yield from pool.map(_batch, tasks)
