"""A catalogue of ten million galaxies: how long it takes to read and sort, in how much memory, and to find a tile's.

    python benchmarks/ten_million.py [--galaxies 10000000] [--tiles 500]

Beside it, what finding a tile's galaxies takes by testing every row. Ends by itself in about a minute; the exit status
is 1 where the memory or a ratio misses its bound.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.coordinates import angular_separation

from morph.catalogs.spatial_index import SpatialIndex

#: Bytes of memory for any number of galaxies; how many times faster than testing every row a tile's are found.
MEMORY, TIMES = 1.5e9, 20.0

#: Half the diagonal of a DES tile, degrees, and rows that are made at once.
REACH, CHUNK = 0.52, 500_000

#: Tiles for which every row is tested.
FEW = 5


def write(path: Path, galaxies: int) -> None:
    """As many galaxies over the sky of DES, with the columns of DR2_MAIN that scoring uses."""
    random, writer = np.random.default_rng(0), None
    for start in range(0, galaxies, CHUNK):
        count = min(CHUNK, galaxies - start)
        ra, dec = (
            np.mod(random.uniform(-60, 100, count), 360),
            np.degrees(np.arcsin(random.uniform(-0.91, 0.09, count))),
        )
        names = [
            f"DES{int(a / 15 * 100):04d}{int(d * 100):+05d}" for a, d in zip(np.round(ra), np.round(dec), strict=True)
        ]
        columns = {"COADD_OBJECT_ID": start + np.arange(count), "RA": ra, "DEC": dec, "TILENAME": names}
        for name, low, high in (("FLUX_RADIUS_R", 2, 10), *((f"MAG_AUTO_{band}", 15, 24) for band in "GRI")):
            columns[name] = random.uniform(low, high, count)
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def main(galaxies: int, tiles: int) -> int:
    """Measure, print, and judge."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "galaxies.parquet"
        write(path, galaxies)
        start = time.process_time()
        kept = SpatialIndex.read(path, to=Path(folder) / "kept.arrow")
        print(f"{len(kept):,} galaxies read and sorted in {time.process_time() - start:.1f} CPU seconds")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"peak memory {memory / 1e9:.2f} GB (at most {MEMORY / 1e9:g})")
        random = np.random.default_rng(1)
        places = np.stack([random.uniform(0, 100, tiles), random.uniform(-60, 0, tiles)], axis=1)
        start = time.process_time()
        found = [len(kept.near(ra, dec, REACH)) for ra, dec in places]
        each = (time.process_time() - start) / tiles
        sky = pq.read_table(path, columns=["RA", "DEC"])
        ra, dec = (np.radians(sky[name].to_numpy()) for name in ("RA", "DEC"))
        start = time.process_time()
        for (a, d), near in zip(np.radians(places[:FEW]), found, strict=False):
            assert near >= (angular_separation(ra, dec, a, d) < np.radians(REACH)).sum()
        every = (time.process_time() - start) / FEW
    print(
        f"a tile's {np.mean(found):,.0f} galaxies found in {1000 * each:.1f} ms, by testing all in {1000 * every:.0f}"
    )
    print(f"ratio {every / each:.0f} (at least {TIMES:g})")
    return int(memory > MEMORY or (galaxies >= 5_000_000 and every / each < TIMES))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--galaxies", type=int, default=10_000_000)
    parser.add_argument("--tiles", type=int, default=500)
    sys.exit(main(**vars(parser.parse_args())))
