"""Drawing a scene: the light of every component, in every band, before the telescope.

Sources of the forms: Sersic (1968) spheroids; logarithmic arms (Seigar & James 1998); Ferrers bars; edge-on disks
R K1(R) sech^2(z) (van der Kruit & Searle 1981); dust as a screen in the middle of the light, with the extinction
law of Cardelli et al. (1989) for R_V = 3.1.
"""

import galsim
import numpy as np
import scipy.fft
from scipy.ndimage import map_coordinates
from scipy.special import k1

from morph.simulation.canvas import Canvas
from morph.simulation.scenes import Arms, Bar, Bulge, Colours, Ring, Scene, Tail

#: Extinction in g, r, i for unit optical depth in r.
REDDENING = np.array([1.33, 1.0, 0.76], dtype="float32")

#: Scale lengths of an exponential disk in its half-light radius.
EXPONENTIAL = 1.678

#: GalSim keeps tables of each Sersic index it has met, so indices are rounded to what they can share.
INDEX_STEP = 0.25

#: The part of the light that lies behind the dust or among it.
BEHIND_DUST = 0.75


def draw(scene: Scene, canvas: Canvas, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """The Fourier transform of the scene in g, r, i: complex64 [3, size, size // 2 + 1], nanomaggies.

    `x`, `y` is the galaxy's centre, arcsec from the middle of the canvas.
    """
    rng = np.random.default_rng(scene.seed)
    old, young = _fluxes(scene.old), _fluxes(scene.young)
    total = np.zeros((3, canvas.size, canvas.size // 2 + 1), dtype="complex64")
    drawn = np.zeros((3, *canvas.shape), dtype="float32")
    u, v = _own_axes(scene, canvas, x, y)
    rest = 1.0 - scene.bulge_fraction - (scene.bar.fraction if scene.bar else 0) - scene.shells
    rest -= (scene.ring.fraction if scene.ring else 0) + sum(tail.fraction for tail in scene.tails)

    if scene.bulge:
        if scene.bulge.boxiness:
            drawn += _add(old, scene.bulge.fraction * _boxy(scene.bulge, u, v))
        else:
            shape = canvas.response(spheroid(scene.bulge, scene.radius, scene.angle)) * canvas.place(x, y)
            total += _add(old, shape)
    depth = None
    if scene.kind == "edge-on":
        light, depth = _edge_on(scene, u, v, rest, rng)
        drawn += light
    elif scene.disk:
        light, depth = _disk(scene, canvas, u, v, rest, rng)
        drawn += light
    if scene.shells:
        drawn += _add(old, scene.shells * _shells(u, v / scene.axis_ratio, rng))
    if depth is not None:
        # Dust dims all light that passes it, so the spheroid joins the drawn light first.
        drawn += canvas.draw(total)
        total = np.zeros_like(total)
        screen = np.exp(-REDDENING[:, None, None] * depth)
        drawn *= 1 - BEHIND_DUST + BEHIND_DUST * screen
    for tail in scene.tails:
        points = _tail(tail, scene, canvas, x, y, rng) * canvas.blur(tail.width * scene.radius)
        total += _add(0.5 * (old + young), points)
    total += canvas.transform(drawn)
    total *= np.float32(scene.flux)
    for companion in scene.companions:
        total += draw(companion.scene, canvas, x + companion.x * scene.radius, y + companion.y * scene.radius)
    return total


def spheroid(bulge: Bulge, radius: float, angle: float) -> galsim.GSObject:
    """A bulge or an elliptical of a galaxy of `radius` arcsec as a GalSim profile."""
    index = np.clip(round(bulge.index / INDEX_STEP) * INDEX_STEP, 0.5, 6.0)
    profile = galsim.Sersic(index, half_light_radius=bulge.radius * radius, flux=bulge.fraction)
    return profile.shear(q=max(bulge.axis_ratio, 0.05), beta=angle * galsim.degrees)


def _fluxes(colours: Colours) -> np.ndarray:
    return np.array(colours.fluxes(), dtype="float32")


def _add(fluxes: np.ndarray, shape: np.ndarray) -> np.ndarray:
    return fluxes[:, None, None] * shape


def _normal(shape: np.ndarray) -> np.ndarray:
    """A map of unit flux."""
    return shape / max(float(shape.sum()), 1e-20)


def _own_axes(scene: Scene, canvas: Canvas, x: float, y: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along the major and the minor axis in units of the radius, drifting if it is lopsided."""
    cos, sin = np.cos(np.radians(scene.angle)), np.sin(np.radians(scene.angle))
    dx, dy = (canvas.x - x) / scene.radius, (canvas.y - y) / scene.radius
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    if scene.lopsided:
        far = 1 - np.exp(-0.5 * (u * u + v * v))
        u = u - np.float32(scene.lopsided) * far
        v = v - np.float32(0.4 * scene.lopsided * scene.axis_ratio) * far * u
    return u.astype("float32"), v.astype("float32")


# --- Disks seen at an angle ---------------------------------------------------------------------------


def _disk(scene: Scene, canvas: Canvas, u, v, fraction: float, rng) -> tuple[np.ndarray, np.ndarray | None]:
    """Light of the disk with its bar, arms, ring and knots in g, r, i, and the dust's optical depth."""
    disk, arms = scene.disk, scene.arms
    v = v / np.float32(disk.axis_ratio)
    radius = np.hypot(u, v)
    azimuth = np.arctan2(v, u)
    outer = np.exp(-((radius / 3.4) ** 4))
    old = np.exp(-EXPONENTIAL * radius) * outer
    young = np.exp(-EXPONENTIAL / 1.2 * radius) * outer
    depth = None
    if arms:
        ridge, along = _arms(arms, radius, azimuth, rng)
        started = 1 / (1 + np.exp(-(radius - arms.inner) / 0.07))
        young *= 0.06 + started * (1 + arms.contrast * ridge)
        old *= 1 + 0.12 * min(arms.contrast, 4.0) * started * ridge
        texture = _texture(rng, radius, along)
        if scene.dust:
            # Dust gathers on the inner, concave edge of an arm.
            lane, _ = _arms(arms, radius * np.float32(1.12), azimuth, np.random.default_rng(scene.seed), 2.5)
            depth = scene.dust * lane * started * np.exp(-0.7 * radius + 0.5 * texture)
    else:
        texture = _texture(rng, radius, azimuth)
        if scene.kind == "irregular":
            texture = 0.6 * texture + 0.8 * _patches(rng, u, v)
    scatter = np.float32(disk.clumpiness)
    young *= np.exp(scatter * texture - scatter**2 / 2)

    young_fluxes, old_fluxes = _fluxes(scene.young), _fluxes(scene.old)
    young_share = fraction * disk.young
    light = _add(old_fluxes, (fraction - young_share) * _normal(old))
    if scene.knots:
        in_knots = min(0.35, 0.012 * scene.knots**0.7)
        points = _knots(scene, canvas, young * np.sqrt(radius + 0.05), rng)
        blue = young_fluxes * np.array([1.15, 1.0, 0.8], dtype="float32")
        light += _add(blue, young_share * in_knots * points)
        young_share *= 1 - in_knots
    light += _add(young_fluxes, young_share * _normal(young))
    if scene.ring:
        mixed = 0.35 * old_fluxes + 0.65 * young_fluxes
        light += _add(mixed, scene.ring.fraction * _ring(scene.ring, radius, texture))
    if scene.bar:
        light += _add(old_fluxes, scene.bar.fraction * _bar(scene.bar, u, v))
    return light, depth


def _arms(arms: Arms, radius, azimuth, rng, sharper: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """How much on an arm each point is (0 to about 1), and the angle that stays constant along an arm."""
    winding = np.log(np.maximum(radius, 0.03)) / np.float32(np.tan(np.radians(arms.pitch)))
    along = azimuth - np.float32(arms.handedness) * winding - np.float32(np.radians(arms.phase))
    strengths = 1 + 0.6 * arms.irregularity * rng.normal(size=arms.number)
    offsets = 0.35 * arms.irregularity * rng.normal(size=arms.number) / max(arms.number / 2, 1)
    wobble = arms.irregularity * rng.normal(size=3) * (0.3, 0.2, 0.12)
    phases = rng.uniform(0, 2 * np.pi, 3)
    bent = along.copy()
    for j in range(3):
        bent += np.float32(wobble[j]) * np.sin(np.float32(2.2 * (j + 1)) * radius + (j % 2) * azimuth + phases[j])
    narrowness = np.float32(arms.sharpness * sharper * max(arms.number, 1.4) ** 2)
    ridge = np.zeros_like(radius)
    for j in range(arms.number):
        distance = bent - np.float32(2 * np.pi * j / arms.number + offsets[j])
        ridge += np.float32(max(strengths[j], 0.15)) * np.exp(narrowness * (np.cos(distance) - 1))
    return ridge, bent


def _texture(rng, radius, angle) -> np.ndarray:
    """Noise of unit variance in (ln radius, angle): drawn out along the arms where the angle follows them."""
    shape = (64, 128)
    noise = scipy.fft.rfft2(rng.normal(size=shape).astype("float32"))
    kr = scipy.fft.fftfreq(shape[0])[:, None] * shape[0]
    ka = scipy.fft.rfftfreq(shape[1])[None, :] * shape[1]
    power = (1 + (kr / 5) ** 2 + (ka / 9) ** 2) ** -1.1
    field = scipy.fft.irfft2(noise * power.astype("float32"), s=shape)
    field /= field.std()
    rows = np.float32(shape[0] / 4) * np.log(np.maximum(radius, 0.05))
    columns = np.float32(shape[1] / (2 * np.pi)) * angle
    return map_coordinates(field, np.stack([rows, columns]), order=1, mode="grid-wrap", prefilter=False)


def _patches(rng, u, v) -> np.ndarray:
    """Noise of unit variance in the plane of the sky, with structure of about a quarter of the radius."""
    size = 64
    noise = scipy.fft.rfft2(rng.normal(size=(size, size)).astype("float32"))
    k = np.hypot(scipy.fft.fftfreq(size)[:, None], scipy.fft.rfftfreq(size)[None, :]) * size
    field = scipy.fft.irfft2(noise * ((1 + (k / 7) ** 2) ** -1.2).astype("float32"), s=(size, size))
    field /= field.std()
    step = np.float32(size / 6)
    return map_coordinates(field, np.stack([v * step, u * step]), order=1, mode="grid-wrap", prefilter=False)


def _knots(scene: Scene, canvas: Canvas, where: np.ndarray, rng) -> np.ndarray:
    """HII regions, scattered where the young light is: a map of unit flux."""
    cumulative = np.cumsum(where.ravel(), dtype="float64")
    picks = np.searchsorted(cumulative, rng.random(scene.knots) * cumulative[-1])
    flux = rng.lognormal(0, 0.8, scene.knots)
    points = np.bincount(np.minimum(picks, where.size - 1), weights=flux, minlength=where.size)
    points = points.reshape(where.shape) / flux.sum()
    return canvas.draw(canvas.transform(points) * canvas.blur(0.045 * scene.radius))


def _ring(ring: Ring, radius, texture) -> np.ndarray:
    return _normal(np.exp(-0.5 * ((radius - ring.radius) / ring.width) ** 2 + 0.35 * texture))


def _bar(bar: Bar, u, v) -> np.ndarray:
    """A boxy Ferrers bar, (1 - m^2)^1.5 inside its edge."""
    cos, sin = np.cos(np.radians(bar.angle)), np.sin(np.radians(bar.angle))
    along = np.abs(cos * u + sin * v) / np.float32(bar.length)
    across = np.abs(cos * v - sin * u) / np.float32(bar.length * bar.axis_ratio)
    m = (along**2.6 + across**2.6) ** np.float32(2 / 2.6)
    return _normal(np.maximum(1 - m, 0) ** 1.5 * np.exp(-1.2 * along))


# --- Disks from the side ------------------------------------------------------------------------------


def _edge_on(scene: Scene, u, v, fraction: float, rng) -> tuple[np.ndarray, np.ndarray | None]:
    """Light of an edge-on disk in g, r, i, and the optical depth of its dust lane."""
    disk = scene.disk
    v = v - np.float32(disk.warp) * u * np.abs(u)
    r = np.abs(u) * np.float32(EXPONENTIAL)
    plane = r * k1(np.maximum(r, 1e-3)) * np.exp(-((r / 5.0) ** 6))
    texture = _texture(rng, np.abs(u) + 0.05, np.sign(u) + 3 * v)
    clumps = np.exp(0.5 * disk.clumpiness * texture)
    thin = plane**0.9 * _sech2(v / (0.55 * disk.thickness)) * clumps
    thick = plane * (_sech2(v / disk.thickness) + 0.06 * _sech2(v / (2.6 * disk.thickness)))
    light = _add(_fluxes(scene.young), fraction * disk.young * _normal(thin))
    light += _add(_fluxes(scene.old), fraction * (1 - disk.young) * _normal(thick))
    if not scene.dust:
        return light, None
    # A disk is never exactly edge-on: the lane lies a little to one side.
    offset = rng.normal(0, 0.25) * disk.thickness
    lane = _sech2((v - offset) / (0.3 * disk.thickness)) * np.exp(-r / 2.2 + 0.4 * texture)
    return light, scene.dust * lane


def _sech2(z: np.ndarray) -> np.ndarray:
    return 1 / np.cosh(np.minimum(np.abs(z), 20)) ** 2


def _boxy(bulge: Bulge, u, v) -> np.ndarray:
    """A spheroid whose isophotes are superellipses of exponent 2 + boxiness."""
    exponent = np.float32(2 + bulge.boxiness)
    m = np.abs(u / bulge.radius) ** exponent + np.abs(v / (bulge.radius * bulge.axis_ratio)) ** exponent
    m = m ** (1 / exponent)
    b = np.float32(2 * bulge.index - 1 / 3)
    return _normal(np.exp(-b * (m + 0.02) ** np.float32(1 / bulge.index)))


# --- Tidal features -----------------------------------------------------------------------------------


def _tail(tail: Tail, scene: Scene, canvas: Canvas, x: float, y: float, rng) -> np.ndarray:
    """The transform of the stars of a tail, as points; unit flux times its fraction."""
    count = 1200
    step = rng.beta(1.1, 1.8, count)
    azimuth = np.radians(tail.angle + tail.span * step)
    distance = 0.8 * np.exp(np.abs(np.radians(tail.span)) * step * np.tan(np.radians(tail.opening)))
    spread = tail.width * (0.5 + 1.5 * step)
    distance = distance + spread * rng.normal(size=count)
    u, v = distance * np.cos(azimuth), distance * np.sin(azimuth) * max(scene.axis_ratio, 0.45)
    cos, sin = np.cos(np.radians(scene.angle)), np.sin(np.radians(scene.angle))
    points = canvas.scatter(
        x + scene.radius * (cos * u - sin * v),
        y + scene.radius * (sin * u + cos * v),
        np.full(count, tail.fraction / count),
    )
    return canvas.transform(points)


def _shells(u, v, rng) -> np.ndarray:
    """Two or three arcs with a sharp outer edge, on alternating sides (Hernquist & Quinn 1988)."""
    radius, azimuth = np.hypot(u, v), np.arctan2(v, u)
    side = rng.uniform(0, 2 * np.pi)
    light = np.zeros_like(radius)
    for j, edge in enumerate(np.sort(rng.uniform(1.2, 2.8, rng.integers(2, 4)))):
        inward = (edge - radius) / 0.25
        window = np.exp(1.8 * (np.cos(azimuth - side - np.pi * j) - 1))
        light += np.where(inward > 0, np.exp(-np.maximum(inward, 0)), np.exp(6 * np.minimum(inward, 0))) * window
    return _normal(light)
