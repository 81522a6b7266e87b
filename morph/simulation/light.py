"""Drawing a scene: the light of every component, in every band, before the telescope.

Sources of the forms: Sersic (1968) spheroids; logarithmic arms (Seigar & James 1998); Ferrers bars; edge-on disks
R K1(R) sech^2(z) (van der Kruit & Searle 1981); dust as a screen in the middle of the light, with the extinction
law of Cardelli et al. (1989) for R_V = 3.1.
"""

import galsim
import numpy as np
import scipy.fft
from scipy.ndimage import gaussian_filter
from scipy.special import k1

from morph.simulation.canvas import Canvas
from morph.simulation.scenes import Arms, Bar, Bulge, Colours, Disk, Ring, Scene, Tail

#: Extinction in g, r, i for unit optical depth in r.
REDDENING = np.array([1.33, 1.0, 0.76], dtype="float32")

#: Scale lengths of an exponential disk in its half-light radius.
EXPONENTIAL = 1.678

#: GalSim keeps tables of each Sersic index it has met, so indices are rounded to what they can share.
INDEX_STEP = 0.25

#: The part of the light that lies behind the dust or among it.
BEHIND_DUST = 0.75

#: Standard deviation of an HII region in its galaxy's radius, and its light in g, r, i over that of young stars.
KNOT_SIZE = 0.045
NEBULAR = np.array([1.15, 1.0, 0.8], dtype="float32")

#: Entries of a table of a function of one variable.
LOOK_UP = 2048


def draw(scene: Scene, canvas: Canvas, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """Draw a scene's light in g, r, i in Fourier space: complex64 [3, spectrum], nanomaggies.

    Parameters
    ----------
    scene : the galaxy.
    canvas : on which it is drawn.
    x, y : the galaxy's centre, arcsec from the middle of the canvas.
    """
    rng = np.random.default_rng(scene.seed)
    old, young = _fluxes(scene.old), _fluxes(scene.young)
    total = np.zeros((3, *canvas.spectrum_shape), dtype="complex64")
    if scene.disk or scene.shells:
        u, v = _own_axes(scene, canvas, x, y)
        drawn = np.zeros((3, *canvas.shape), dtype="float32")
        if scene.disk and scene.kind == "edge-on":
            drawn += _edge_on(scene, scene.disk, u, v, rng)
        elif scene.disk:
            drawn += _disk(scene, scene.disk, canvas, u, v, rng)
        if scene.shells:
            drawn += _add(old, scene.shells * _shells(u, v / np.float32(scene.axis_ratio), rng))
        total += canvas.transform(drawn)
    if scene.bulge and scene.kind != "edge-on":
        total += _add(old, canvas.response(spheroid(scene.bulge, scene.radius, scene.angle)) * canvas.place(x, y))
    for tail in scene.tails:
        points = _tail(tail, scene, canvas, x, y, rng) * canvas.blur(tail.width * scene.radius)
        total += _add(0.5 * (old + young), points)
    total *= np.float32(scene.flux)
    for companion in scene.companions:
        total += draw(companion.scene, canvas, x + companion.x * scene.radius, y + companion.y * scene.radius)
    return total


def spheroid(bulge: Bulge, radius: float, angle: float) -> galsim.GSObject:
    """A bulge or an elliptical as a GalSim profile.

    Parameters
    ----------
    bulge : its light, in parts of the galaxy's.
    radius : the galaxy's half-light radius, arcsec.
    angle : its position angle, degrees.
    """
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


def _disk(scene: Scene, disk: Disk, canvas: Canvas, u, v, rng) -> np.ndarray:
    """Light of a disk with its bar, arms, ring and knots, behind the dust of its arms: [3, points, points]."""
    v = v / np.float32(disk.axis_ratio)
    radius = np.hypot(u, v)
    azimuth = np.arctan2(v, u)
    fraction = scene.disk_fraction
    outer = np.exp(-((radius / 3.4) ** 4))
    old = np.exp(-EXPONENTIAL * radius) * outer
    young = np.exp(-EXPONENTIAL / 1.2 * radius) * outer
    depth = None
    if scene.arms:
        arms = scene.arms
        along = _along(arms, radius, azimuth, rng)
        ridge, lane = _ridges(arms, along, rng)
        started = 1 / (1 + np.exp((arms.inner - radius) / 0.07))
        young *= 0.06 + started * (1 + arms.contrast * ridge)
        old *= 1 + 0.12 * min(arms.contrast, 4.0) * started * ridge
        texture = _texture(rng, radius, along)
        if scene.dust:
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
        light += _add(young_fluxes * NEBULAR, young_share * in_knots * points)
        young_share *= 1 - in_knots
    light += _add(young_fluxes, young_share * _normal(young))
    if scene.ring:
        mixed = 0.35 * old_fluxes + 0.65 * young_fluxes
        light += _add(mixed, scene.ring.fraction * _ring(scene.ring, radius, texture))
    if scene.bar:
        light += _add(old_fluxes, scene.bar.fraction * _bar(scene.bar, u, v))
    return light if depth is None else light * _screen(depth)


def _along(arms: Arms, radius, azimuth, rng) -> np.ndarray:
    """The angle that stays constant along an arm, as it wanders."""
    winding = np.log(np.maximum(radius, 0.03)) / np.float32(np.tan(np.radians(arms.pitch)))
    along = azimuth - np.float32(arms.handedness) * winding - np.float32(np.radians(arms.phase))
    wander = arms.irregularity * rng.normal(size=3) * (0.3, 0.2, 0.12)
    phases = rng.uniform(0, 2 * np.pi, 3).astype("float32")
    for j in range(3):
        along += np.float32(wander[j]) * np.sin(np.float32(2.2 * (j + 1)) * radius + (j % 2) * azimuth + phases[j])
    return along


def _ridges(arms: Arms, along: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
    """How much on an arm each point is, and on the dust lane along its inner, concave edge (0 to about 1)."""
    strengths = np.maximum(1 + 0.6 * arms.irregularity * rng.normal(size=arms.number), 0.15)
    offsets = 0.35 * arms.irregularity * rng.normal(size=arms.number) / max(arms.number / 2, 1)
    places = 2 * np.pi * np.arange(arms.number) / arms.number + offsets
    # Both depend on one angle alone, so they are looked up instead of computed at every point.
    angles = np.linspace(0, 2 * np.pi, LOOK_UP, endpoint=False)
    distance = angles[:, None] - places
    narrowness = arms.sharpness * max(arms.number, 1.4) ** 2
    inward = -arms.handedness * np.log(1.12) / np.tan(np.radians(arms.pitch))
    ridge = (strengths * np.exp(narrowness * (np.cos(distance) - 1))).sum(axis=1)
    lane = np.exp(2.5 * narrowness * (np.cos(distance + inward) - 1)).sum(axis=1)
    entry = (along * np.float32(LOOK_UP / (2 * np.pi))).astype("int32") % LOOK_UP
    return ridge.astype("float32")[entry], lane.astype("float32")[entry]


def _texture(rng, radius, angle) -> np.ndarray:
    """Noise of unit variance in (ln radius, angle): drawn out along the arms where the angle follows them."""
    field = _noise(rng, (128, 256), (5.0, 9.0), 1.1)
    rows = (np.float32(32) * np.log(np.maximum(radius, 0.05))).astype("int32") % 128
    columns = (np.float32(256 / (2 * np.pi)) * angle).astype("int32") % 256
    return field[rows, columns]


def _patches(rng, u, v) -> np.ndarray:
    """Noise of unit variance in the plane of the sky, with structure of about a quarter of the radius."""
    field = _noise(rng, (128, 128), (7.0, 7.0), 1.2)
    step = np.float32(128 / 6)
    return field[(v * step).astype("int32") % 128, (u * step).astype("int32") % 128]


def _noise(rng, shape: tuple[int, int], waves: tuple[float, float], steepness: float) -> np.ndarray:
    """Periodic Gaussian noise of unit variance whose power falls beyond so many `waves` along each axis."""
    white = scipy.fft.rfft2(rng.standard_normal(shape, dtype="float32"))
    ky = scipy.fft.fftfreq(shape[0], 1 / shape[0])[:, None] / waves[0]
    kx = scipy.fft.rfftfreq(shape[1], 1 / shape[1])[None, :] / waves[1]
    field = scipy.fft.irfft2(white * ((1 + ky**2 + kx**2) ** -steepness).astype("float32"), s=shape)
    return field / field.std()


def _knots(scene: Scene, canvas: Canvas, where: np.ndarray, rng) -> np.ndarray:
    """HII regions, scattered where the young light is: a map of unit flux."""
    cumulative = np.cumsum(where.ravel(), dtype="float64")
    picks = np.searchsorted(cumulative, rng.random(scene.knots) * cumulative[-1])
    flux = rng.lognormal(0, 0.8, scene.knots)
    points = np.bincount(np.minimum(picks, where.size - 1), weights=flux, minlength=where.size)
    points = points.reshape(where.shape) / flux.sum()
    step = canvas.scale / canvas.finer
    return gaussian_filter(points.astype("float32"), KNOT_SIZE * scene.radius / step, truncate=3)


def _ring(ring: Ring, radius, texture) -> np.ndarray:
    return _normal(np.exp(-0.5 * ((radius - ring.radius) / ring.width) ** 2 + 0.35 * texture))


def _bar(bar: Bar, u, v) -> np.ndarray:
    """A boxy Ferrers bar, (1 - m^2)^1.5 inside its edge."""
    cos, sin = np.cos(np.radians(bar.angle)), np.sin(np.radians(bar.angle))
    along = np.abs(cos * u + sin * v) / np.float32(bar.length)
    across = np.abs(cos * v - sin * u) / np.float32(bar.length * bar.axis_ratio)
    along *= along
    across *= across
    m = np.sqrt(along * along + across * across)
    inside = np.maximum(1 - m, 0)
    return _normal(inside * np.sqrt(inside) * np.exp(-1.2 * along))


# --- Disks from the side ------------------------------------------------------------------------------


def _edge_on(scene: Scene, disk: Disk, u, v, rng) -> np.ndarray:
    """Light of an edge-on disk and its bulge, behind its dust lane: [3, points, points]."""
    fraction = scene.disk_fraction
    v = v - np.float32(disk.warp) * u * np.abs(u)
    r = np.abs(u) * np.float32(EXPONENTIAL)
    lengths = np.linspace(0, 12, LOOK_UP, dtype="float32")
    table = lengths * k1(np.maximum(lengths, 1e-3)) * np.exp(-((lengths / 5.0) ** 6))
    plane = table[np.minimum(r * np.float32(LOOK_UP / 12), LOOK_UP - 1).astype("int32")]
    texture = _texture(rng, np.abs(u) + 0.05, np.sign(u) + 3 * v)
    clumps = np.exp(np.float32(0.5 * disk.clumpiness) * texture)
    thin = plane * _sech2(v / np.float32(0.55 * disk.thickness)) * clumps
    thick = plane * (_sech2(v / np.float32(disk.thickness)) + 0.06 * _sech2(v / np.float32(2.6 * disk.thickness)))
    old = fraction * (1 - disk.young) * _normal(thick)
    if scene.bulge:
        old += scene.bulge.fraction * _boxy(scene.bulge, u, v)
    light = _add(_fluxes(scene.young), fraction * disk.young * _normal(thin)) + _add(_fluxes(scene.old), old)
    if not scene.dust:
        return light
    # A disk is never exactly edge-on: the lane lies a little to one side.
    offset = rng.normal(0, 0.25) * disk.thickness
    lane = _sech2((v - np.float32(offset)) / np.float32(0.3 * disk.thickness)) * np.exp(0.4 * texture - r / 2.2)
    return light * _screen(np.float32(scene.dust) * lane)


def _screen(depth: np.ndarray) -> np.ndarray:
    """The part of the light that passes dust of optical depth `depth` in r, in every band."""
    return 1 - BEHIND_DUST + BEHIND_DUST * np.exp(-REDDENING[:, None, None] * depth)


def _sech2(z: np.ndarray) -> np.ndarray:
    e = np.exp(-2 * np.abs(z))
    return 4 * e / (1 + e) ** 2


def _boxy(bulge: Bulge, u, v) -> np.ndarray:
    """A spheroid whose isophotes are superellipses of exponent 2 + boxiness (Athanassoula et al. 1990)."""
    a, b = np.abs(u / np.float32(bulge.radius)), np.abs(v / np.float32(bulge.radius * bulge.axis_ratio))
    if bulge.boxiness:
        exponent = np.float32(2 + bulge.boxiness)
        m = (a**exponent + b**exponent) ** (1 / exponent)
    else:
        m = np.hypot(a, b)
    steepness = np.float32(2 * bulge.index - 1 / 3)
    return _normal(np.exp(-steepness * (m + 0.02) ** np.float32(1 / bulge.index)))


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
