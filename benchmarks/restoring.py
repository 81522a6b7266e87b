"""Restoring: the restorer beside classical ways, each tuned, on simulated galaxies whose truth is known.

    python benchmarks/restoring.py MODEL [--galaxies 300] [--parts table,shapes,others,reconstruction,...]

Stamps are like those of DES: 64 pixels of 0.263 arcsec, a Moffat profile of 0.95 arcsec. Classical ways are tuned on
other galaxies for every signal to noise, for the best picture. Wavelets and total variation are scikit-image's, BM3D
is that of its authors (pip install scikit-image PyWavelets bm3d; BM3D's licence allows no commercial use): those that
are not installed are left out.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import click
import numpy as np
from keras import ops

from morph.model.restoration import gaussian, moffat
from morph.simulation.sample import simulate_galaxies
from training.evaluation.reconstruction import measure_reconstruction
from training.evaluation.restoration import (
    APERTURE,
    PIXEL_SCALE,
    SEEING,
    SIGNALS,
    TARGET,
    Figures,
    aperture_flux,
    draw_truths,
    ellipticity,
    inject,
    signal_to_noise_of_peak,
)

#: Galaxies that the classical ways are tuned on, and that BM3D, which takes a second each, is measured on.
TUNED_ON, FEW = 8, 30
#: The aims: PSNR (dB) and flux bias at each signal to noise.
REACH = {
    "denoise": {20: (35.0, 0.02), 60: (41.0, 0.01), 200: (47.5, 0.005)},
    "deconvolve": {20: (32.0, 0.02), 60: (36.0, 0.01), 200: (41.0, 0.005)},
}
#: Shares of pixels that 68 % intervals may hold, and the largest multiplicative bias of ellipticities.
HOLD, SHEAR_BIAS = (0.63, 0.73), 0.01
#: What is compared of a reconstruction, its unit in percent or mag, and the aim.
RECONSTRUCTION = (("radius", 100, 3), ("profile", 100, 5), ("magnitude", 1, 0.02))
#: The least stamps of three bands in a second.
RATE = 50

Image = np.ndarray
#: A classical way: an image, its noise and a parameter, to a restored image.
Classical = Callable[[Image, float, float], Image]


def transfers(seeing: float = SEEING, target: float = TARGET, size: int = 64) -> tuple[Image, Image]:
    """Transfer functions of the point-spread function and of the target."""
    widths = (np.float32([width / PIXEL_SCALE]) for width in (seeing, target))
    psf, sharp = (kernel(width, (size, size)) for kernel, width in zip((moffat, gaussian), widths, strict=True))
    return ops.convert_to_numpy(psf)[0], ops.convert_to_numpy(sharp)[0]


def wiener(image: Image, noise: float, parameter: float) -> Image:
    """Sharpened by a Wiener filter for a power spectrum that falls with the frequency (k + k0)^-3."""
    psf, sharp = transfers()
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64))
    power = (image.sum() / noise) ** 2 / 64**2 * (1 + frequency / 0.02) ** -3 * parameter
    return np.fft.ifft2(np.fft.fft2(image) * sharp * psf * power / (psf**2 * power + 1)).real


def richardson_lucy(image: Image, noise: float, iterations: float) -> Image:
    """Richardson (1972) and Lucy (1974), towards the target: the kernel is what blurs the target to the data."""
    psf, sharp = transfers()
    kernel = np.minimum(psf / np.maximum(sharp, 1e-6), 1.0)

    def blur(each: Image) -> Image:
        return np.fft.ifft2(np.fft.fft2(each) * kernel).real

    found, data = np.full_like(image, max(image.mean(), 1e-12)), np.maximum(image, 1e-12)
    for _ in range(int(iterations)):
        found = np.maximum(found * blur(data / np.maximum(blur(found), 1e-12)), 1e-12)
    return found


def denoisers() -> dict[str, tuple[Classical, Sequence[float], bool]]:
    """Ways that take the noise away: function, parameters to try, whether it is slow."""
    ways: dict[str, tuple[Classical, Sequence[float], bool]] = {}
    try:
        from skimage.restoration import cycle_spin, denoise_tv_chambolle, denoise_wavelet

        def wavelets(image, noise, parameter):
            options = {"sigma": parameter, "wavelet": "sym4", "method": "VisuShrink", "mode": "soft"}
            return cycle_spin(image / noise, denoise_wavelet, 2, func_kw=options, num_workers=1) * noise

        ways["wavelets"] = (wavelets, (0.3, 0.45, 0.6, 0.8, 1.0), False)
        ways["total variation"] = (
            lambda image, noise, weight: denoise_tv_chambolle(image / noise, weight) * noise,
            (0.7, 1.0, 1.5, 2.2, 3.2, 4.5),
            False,
        )
    except ModuleNotFoundError:
        pass
    try:
        from bm3d import bm3d

        ways["BM3D"] = (lambda image, noise, part: bm3d(image / noise, part) * noise, (0.9, 1.1, 1.4), True)
    except ModuleNotFoundError:
        pass
    return ways


SHARPENERS: dict[str, tuple[Classical, Sequence[float], bool]] = {
    "Wiener": (wiener, (0.1, 1.0, 10.0, 100.0, 1000.0), False),
    "Richardson-Lucy": (richardson_lucy, (3, 6, 10, 20, 30, 60), False),
}


def tuned(way: Classical, parameters: Sequence[float], images: Image, noise: Image, truth: Image) -> float:
    """The parameter that gives the best pictures."""

    def score(parameter: float) -> float:
        made = np.stack([way(each, level, parameter) for each, level in zip(images, noise, strict=True)])
        return float(np.median(signal_to_noise_of_peak(truth, made)))

    return max(parameters, key=score)


class Ours:
    """The restorer of a model, on images of one band [n, 64, 64]."""

    def __init__(self, model: str):
        from morph.analysis.restoring.datasets import compiled_stamps
        from morph.model.store import load_model

        self.model = load_model(model)
        self._run = compiled_stamps(self.model)

    def __call__(
        self, images: Image, noise: Image, sharpen: bool, seeing: float = SEEING, target: float = TARGET
    ) -> tuple[Image, Image]:
        n = len(images)
        cube = np.concatenate([images, images[: -n % 3]]).reshape(-1, 3, 64, 64).transpose(0, 2, 3, 1)
        unit = np.float32(np.median(noise))
        rows = []
        for start in range(0, len(cube), 32):
            part = (cube[start : start + 32] / unit).astype("float32")
            psf = np.full((len(part), 3), seeing / PIXEL_SCALE, "float32")
            wanted = np.full((len(part), 3), target / PIXEL_SCALE if sharpen else np.nan, "float32")
            rows.append(self._run(part, psf, wanted))
        found = (np.concatenate([row[name] for row in rows]) * unit for name in ("restored", "sigma"))
        restored, sigma = (each.transpose(0, 3, 1, 2).reshape(-1, 64, 64)[:n] for each in found)
        return restored, sigma


def line(name: str, figures: Figures) -> str:
    bias, error = figures.flux_bias
    covered = "" if np.isnan(figures.coverage) else f" | {100 * figures.coverage:.1f} %"
    return f"| {name} | {figures.psnr:.1f} | {100 * bias:+.1f} ± {100 * error:.1f} %{covered}"


def table(ours: Ours, count: int) -> bool:
    """The restorer beside the classical ways; whether it reaches what it should."""
    truths, others = draw_truths(count, seed=1), draw_truths(TUNED_ON, seed=2)
    reached = True
    for task, ways, sharpen in (("denoise", denoisers(), False), ("deconvolve", SHARPENERS, True)):
        for signal in SIGNALS:
            images, noise = truths.observed(signal, 1)
            trial, trial_noise = others.observed(signal, 2)
            truth, trial_truth = (each.sharp if sharpen else each.blurred for each in (truths, others))
            click.echo(f"{task}, S/N {signal}")
            click.echo(line("nothing", Figures.of(truth, images)))
            for name, (way, parameters, slow) in ways.items():
                best = tuned(way, parameters, trial, trial_noise, trial_truth)
                few = slice(FEW if slow else None)
                made = np.stack([way(*each, best) for each in zip(images[few], noise[few], strict=True)])
                click.echo(line(f"{name} ({best:g})", Figures.of(truth[few], made)))
            found = Figures.of(truth, *ours(images, noise, sharpen))
            click.echo(line("restorer", found))
            psnr, bias = REACH[task][signal]
            reached &= found.psnr >= psnr and abs(found.flux_bias[0]) <= bias + found.flux_bias[1]
    return reached


def other_observations(ours: Ours, count: int) -> bool:
    """Other point-spread functions and correlated noise than those of the table; whether the intervals hold."""
    reached = True
    for seeing, beta, correlation in ((0.8, 2.5, 0.0), (1.3, 4.0, 0.0), (0.95, 3.0, 0.45), (0.95, 3.0, 0.8)):
        truths = draw_truths(count, seed=3, seeing=seeing, beta=beta)
        for signal in SIGNALS:
            images, noise = truths.observed(signal, 3, correlation)
            for sharpen, truth in ((False, truths.blurred), (True, truths.sharp)):
                found = Figures.of(truth, *ours(images, noise, sharpen, seeing))
                what = f"{seeing} arcsec, beta {beta}, correlation {correlation}, S/N {signal}"
                click.echo(line(f"{what}, {'deconvolve' if sharpen else 'denoise'}", found))
                reached &= HOLD[0] <= found.coverage <= HOLD[1]
    return reached


def structures(ours: Ours, count: int) -> None:
    """How much of the flux of injected arcs, asteroids and satellites survives, by their signal to noise."""
    truths = draw_truths(count, seed=4)
    images, noise = truths.observed(60, 4)
    for kind in ("arc", "asteroid", "satellite"):
        for signal in (20, 50, 100):
            added = np.stack(
                [inject(kind, np.random.default_rng([k, signal]), level * signal) for k, level in enumerate(noise)]
            )
            for sharpen in (False, True):
                with_it, without = (ours(each, noise, sharpen)[0] for each in (images + added, images))
                around = np.stack([grown(each) for each in added])
                share = ((with_it - without) * around).sum(axis=(1, 2)) / (added * around).sum(axis=(1, 2))
                low, middle, high = np.percentile(share, (16, 50, 84))
                what = f"{kind} at S/N {signal}, {'deconvolved' if sharpen else 'denoised'}"
                click.echo(f"{what}: {100 * middle:.0f} % survive ({100 * low:.0f} to {100 * high:.0f})")


def grown(added: Image) -> Image:
    """Where an injected structure is, and the pixels around it, to which sharpening moves its light."""
    from scipy.ndimage import binary_dilation

    return binary_dilation(added > 0.02 * added.max(), iterations=3)


def colours(ours: Ours, count: int) -> None:
    """The bias of colours: bands of one galaxy at different signals to noise."""
    truths = draw_truths(count, seed=5)
    bands = {signal: truths.observed(signal, 5 + signal) for signal in (60, 120)}
    for sharpen in (False, True):
        fluxes = [aperture_flux(ours(*bands[signal], sharpen)[0], 3.0 / PIXEL_SCALE) for signal in bands]
        colour = -2.5 * np.log10(fluxes[0] / fluxes[1])
        error = 1.2533 * colour.std() / np.sqrt(count)
        click.echo(
            f"colour bias, {'deconvolved' if sharpen else 'denoised'}: {np.median(colour):+.4f} ± {error:.4f} mag"
        )


def shapes(ours: Ours, count: int) -> bool:
    """Ellipticities by weighted moments of restored images against those of the truth, and of the noisy images."""
    truths, reached = draw_truths(count, seed=6), True
    for signal in SIGNALS:
        images, noise = truths.observed(signal, 6)
        most = np.inf
        for name, truth, found in (
            ("noisy", truths.blurred, images),
            ("denoised", truths.blurred, ours(images, noise, False)[0]),
            ("denoised, PSF unknown", truths.blurred, ours(images, noise, False, np.nan)[0]),
            ("deconvolved", truths.sharp, ours(images, noise, True)[0]),
        ):
            true, measured = ellipticity(truth).ravel(), ellipticity(found).ravel()
            slope = float((true * measured).sum() / (true**2).sum())
            error = np.std(measured - slope * true) / np.sqrt((true**2).sum())
            # A sharper image has larger ellipticities: scatter counts in units of theirs.
            scatter = 1.4826 * np.median(np.abs(measured - true))
            relative = scatter / np.sqrt((true**2).mean())
            click.echo(
                f"ellipticity, S/N {signal}, {name}: m {100 * (slope - 1):+.1f} ± {100 * error:.1f} %, "
                f"scatter {scatter:.4f}, {100 * relative:.0f} % of the ellipticities"
            )
            if name in ("denoised", "deconvolved"):
                reached &= abs(slope - 1) <= SHEAR_BIAS + error and relative <= most
            most = min(most, relative)
    return reached


def reconstruction(ours: Ours, count: int) -> bool:
    """The model's reconstruction of simulated galaxies that it has not seen against the galaxies themselves."""
    reached = True
    for survey in ("sdss", "des"):
        with tempfile.TemporaryDirectory() as folder:
            galaxies = simulate_galaxies(f"{folder}/set", count, survey, seed=9001, processes=1, progress=False)
            found = measure_reconstruction(ours.model, galaxies)
        n = len(found["radius"])
        for name, unit, aim in RECONSTRUCTION:
            values = unit * found[name]
            low, middle, high = np.nanpercentile(values, (16, 50, 84), axis=0)
            texts = [
                f"{each:+.3g} ({first:+.3g} to {last:+.3g})"
                for first, each, last in zip(*map(np.atleast_1d, (low, middle, high)), strict=True)
            ]
            click.echo(f"reconstruction, {survey}, {n} galaxies, {name}: {', '.join(texts)}")
            error = 1.2533 * (high - low) / 2 / np.sqrt(n)
            reached &= bool((np.abs(middle) <= aim + error).all())
    return reached


def pairs(ours: Ours, count: int) -> None:
    """The same galaxies shallow and deep: how often the restored shallow image is nearer to the deep one."""
    truths, others = draw_truths(count, seed=7), draw_truths(TUNED_ON, seed=2)
    shallow, noise = truths.observed(30, 7)
    deep, _ = truths.observed(600, 8)
    trial, trial_noise = others.observed(30, 9)
    made = ours(shallow, noise, False)[0]
    ours_error = ((made - deep) ** 2).mean(axis=(1, 2))
    for name, (way, parameters, slow) in denoisers().items():
        best = tuned(way, parameters, trial, trial_noise, others.blurred)
        few = slice(FEW if slow else None)
        theirs = np.stack([way(*each, best) for each in zip(shallow[few], noise[few], strict=True)])
        nearer = ours_error[few] < ((theirs - deep[few]) ** 2).mean(axis=(1, 2))
        click.echo(f"shallow to deep: nearer than {name} for {nearer.sum()} of {len(nearer)} galaxies")


def speed(ours: Ours, count: int) -> bool:
    """Stamps of three bands in a second; whether they are enough."""
    truths = draw_truths(96, seed=8)
    images, noise = truths.observed(60, 8)
    ours(images, noise, True)
    wall, cpu, times = time.perf_counter(), time.process_time(), max(1, count // 32)
    for _ in range(times):
        ours(images, noise, True)
    stamps = times * len(images) / 3
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    click.echo(f"{stamps / wall:.0f} stamps of three bands a second, {stamps / cpu:.0f} a processor second")
    return 2 * stamps / cpu >= RATE


PARTS = {
    "table": table,
    "others": other_observations,
    "structures": structures,
    "colours": colours,
    "shapes": shapes,
    "reconstruction": reconstruction,
    "pairs": pairs,
    "speed": speed,
}


@click.command()
@click.argument("model")
@click.option("--galaxies", default=300, show_default=True, help="How many are restored.")
@click.option("--parts", default=",".join(PARTS), show_default=True, help="What is measured.")
def main(model: str, galaxies: int, parts: str) -> None:
    """Measure how well a model restores images. Exit status 1 where it falls short of the aims."""
    click.echo(f"{galaxies} galaxies; fluxes within {APERTURE:g} arcsec; PSNR by the truth's peak.")
    ours = Ours(model)
    short = [name for name in parts.split(",") if PARTS[name](ours, galaxies) is False]
    sys.exit(f"Short of the aims: {', '.join(short)}." if short else 0)


if __name__ == "__main__":
    main()
