"""How long a survey takes and what it costs, worked out from a rate that was measured."""

from dataclasses import dataclass

#: Galaxies of two surveys, in round numbers: DES after six years, LSST after ten.
SURVEYS = {"DES": 300e6, "LSST": 10e9}


@dataclass(frozen=True)
class Estimate:
    """What it takes to answer for `galaxies` with `servers`, each of which does `rate` galaxies a second.

    Attributes
    ----------
    galaxies : how many; rate : galaxies per second of one server; servers : how many run at once;
    price : of a server, per hour, in any currency; busy : share of the time in which a server computes (reading
        tiles, starting up and waiting take the rest).
    """

    galaxies: float
    rate: float
    servers: int = 1
    price: float = 0.0
    busy: float = 1.0

    @property
    def server_hours(self) -> float:
        """Hours of one server, however many share them."""
        return self.galaxies / (self.rate * self.busy) / 3600

    @property
    def hours(self) -> float:
        """Hours until it is done."""
        return self.server_hours / self.servers

    @property
    def cost(self) -> float:
        """In the currency of `price`."""
        return self.server_hours * self.price

    def __str__(self) -> str:
        """The arithmetic, written out."""
        busy = "" if self.busy == 1 else f" / {self.busy:g} of the time"
        cost = f" x {self.price:g} an hour = {self.cost:,.2f}" if self.price else ""
        wait = "" if self.servers == 1 else f"; {self.servers} servers take {in_words(self.hours)}"
        return (
            f"{self.galaxies / 1e6:,.6g} million galaxies / {self.rate:,g} a second{busy} / 3600"
            f" = {self.server_hours:,.1f} server hours{cost}{wait or f' ({in_words(self.hours)})'}"
        )


def in_words(hours: float) -> str:
    """Hours in the unit that reads best."""
    for unit, length in (("years", 24 * 365.25), ("days", 24.0), ("hours", 1.0)):
        if hours >= 2 * length:
            return f"{hours / length:.1f} {unit}"
    if hours * 60 >= 2:
        return f"{hours * 60:.0f} minutes"
    return f"{hours * 3600:.0f} seconds" if hours * 3600 >= 2 else "a second or two"
