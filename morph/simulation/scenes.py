"""The components of a galaxy, before it is observed.

A `Scene` is one galaxy: its components, their light and their colours. Lengths are in units of the scene's `radius`,
angles in degrees, fluxes in nanomaggies; so a scene can be dimmed or enlarged by changing one number. Everything is
frozen and compares by value. `morph.simulation.light` draws it.
"""

from dataclasses import dataclass, replace

#: Kinds of scenes; "artifact" is something that is not a galaxy.
KINDS = ("elliptical", "disk", "edge-on", "irregular", "artifact")


@dataclass(frozen=True)
class Colours:
    """g - r and r - i (mag, observed frame) of a stellar population."""

    g_r: float
    r_i: float

    def fluxes(self) -> tuple[float, float, float]:
        """Fluxes in g, r, i for unit flux in r."""
        return 10 ** (-0.4 * self.g_r), 1.0, 10 ** (0.4 * self.r_i)


@dataclass(frozen=True)
class Bulge:
    """A Sersic spheroid: part of the galaxy's light, half-light radius, index, projected axis ratio.

    `boxiness` above zero squares its isophotes, as those of bars seen from the side.
    """

    fraction: float
    radius: float
    index: float
    axis_ratio: float = 1.0
    boxiness: float = 0.0


@dataclass(frozen=True)
class Disk:
    """An exponential disk. `axis_ratio` is its projected flattening; `young`, the part of its light that is young;
    `clumpiness`, the scatter (in ln) of its young light; `thickness`, the scale height of an edge-on disk, and `warp`
    how far its plane bends away at one radius."""

    axis_ratio: float
    young: float = 0.5
    clumpiness: float = 0.4
    thickness: float = 0.15
    warp: float = 0.0


@dataclass(frozen=True)
class Bar:
    """A bar: part of the galaxy's light, half length, axis ratio, and its angle in the disk's plane."""

    fraction: float
    length: float
    axis_ratio: float
    angle: float


@dataclass(frozen=True)
class Arms:
    """Logarithmic spiral arms.

    `contrast` is the young light on an arm over that between arms; `sharpness`, how narrow arms are for their
    number; `irregularity`, how far they wander; `inner`, where they start; `handedness`, 1 or -1.
    """

    number: int
    pitch: float
    contrast: float
    phase: float
    sharpness: float = 1.2
    irregularity: float = 0.3
    inner: float = 0.3
    handedness: int = 1


@dataclass(frozen=True)
class Ring:
    """A ring: part of the galaxy's light, radius, width (standard deviation)."""

    fraction: float
    radius: float
    width: float


@dataclass(frozen=True)
class Tail:
    """A tidal tail: part of the galaxy's light, where it leaves (angle), how far it winds (`span`, degrees, with a
    sign), the angle at which it opens, and its width (standard deviation)."""

    fraction: float
    angle: float
    span: float
    opening: float
    width: float


@dataclass(frozen=True)
class Companion:
    """Another galaxy of the same system, its centre at `x`, `y` (in the main galaxy's radii)."""

    scene: "Scene"
    x: float
    y: float


@dataclass(frozen=True)
class Scene:
    """One galaxy.

    Attributes
    ----------
    kind : one of `KINDS`.
    flux : r-band flux before dust, nanomaggies.
    radius : half-light radius of the main body seen face-on, arcsec.
    angle : of the major axis, degrees from x towards y.
    redshift : recorded as a property; it does not change the image.
    old, young : colours of the two populations.
    knots : number of HII regions.
    dust : optical depth in r of the dust along arms, or of the lane of an edge-on disk.
    lopsided : how far the outer isophotes are off the centre.
    shells : part of the light in tidal shells.
    artifact : which one, if the kind is "artifact" (see `morph.simulation.observe`).
    seed : of whatever is random inside it (texture, knots), so that a scene is always drawn the same.
    """

    kind: str
    flux: float
    radius: float
    angle: float
    redshift: float
    old: Colours
    young: Colours
    seed: int
    bulge: Bulge | None = None
    disk: Disk | None = None
    bar: Bar | None = None
    arms: Arms | None = None
    ring: Ring | None = None
    knots: int = 0
    dust: float = 0.0
    lopsided: float = 0.0
    shells: float = 0.0
    tails: tuple[Tail, ...] = ()
    companions: tuple[Companion, ...] = ()
    artifact: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is '{self.kind}', not one of {', '.join(KINDS)}.")
        if self.radius <= 0 or self.flux < 0:
            raise ValueError(f"radius ({self.radius}) must be positive and flux ({self.flux}) not negative.")

    @property
    def axis_ratio(self) -> float:
        """The flattening of the main body as it is seen."""
        if self.kind == "edge-on" and self.disk:
            return min(1.0, 1.3 * self.disk.thickness)
        if self.disk:
            return self.disk.axis_ratio
        return self.bulge.axis_ratio if self.bulge else 1.0

    @property
    def bulge_fraction(self) -> float:
        return self.bulge.fraction if self.bulge else 0.0

    @property
    def disk_fraction(self) -> float:
        """What the other components leave of the light for the disk."""
        parts = [part.fraction for part in (self.bulge, self.bar, self.ring, *self.tails) if part]
        return max(1.0 - sum(parts) - self.shells, 0.0)

    def scaled(self, flux: float = 1.0, radius: float = 1.0) -> "Scene":
        """The same galaxy with its flux and radius multiplied, companions with it."""
        companions = tuple(replace(c, scene=c.scene.scaled(flux, radius)) for c in self.companions)
        return replace(self, flux=self.flux * flux, radius=self.radius * radius, companions=companions)
