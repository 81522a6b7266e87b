"""ESA's Cutana cutting galaxies: `python cutana_cuts.py direct|orchestrated CATALOGUE.csv FOLDER`.

The catalogue has Cutana's own columns, as `benchmarks/cutting.py` writes it. Prints how many cutouts of how many bands
there are, and the seconds that making them took, without the start of Python.

Set up for speed: no normalisation, no conversion of flux, no checks of the catalogue beyond what cannot be switched
off, its quickest resizing (by OpenCV, which does not conserve flux), one worker process a core.
"""

import os
import sys
import time
from ast import literal_eval
from pathlib import Path

import pandas as pd
from cutana import Orchestrator, create_cutouts_direct, get_default_config

SIZE = 64


def configure(catalogue: Path, out: Path, bands: list[str]):
    config = get_default_config()
    config.source_catalogue = str(catalogue)
    config.output_dir = str(out)
    config.target_resolution = SIZE
    config.normalisation_method = "none"
    config.apply_flux_conversion = False
    config.fits_extensions = ["SCI"]
    # Required, though Cutana knows Euclid's bands by name only and then uses all files.
    config.selected_extensions = [{"name": "UNKNOWN", "ext": "SCI"}]
    config.channel_weights = {band: [float(band == other) for other in bands] for band in bands}
    config.skip_fits_check = config.skip_catalogue_validation = True
    config.max_workers = os.cpu_count()
    config.console_log_level = config.log_level = "ERROR"
    return config


def main(mode: str, catalogue: Path, out: Path) -> None:
    table = pd.read_csv(catalogue)
    bands = [path.split(".fits")[0][-1] for path in literal_eval(table["fits_file_paths"].iloc[0])]
    config = configure(catalogue, out, bands)
    begin = time.perf_counter()
    if mode == "direct":
        results = create_cutouts_direct(table, config)
        shapes = [part["cutouts"].shape for part in results]
        made, channels = sum(shape[0] for shape in shapes), shapes[0][-1]
    else:
        outcome = Orchestrator(config).run()
        if outcome["status"] != "completed":
            raise SystemExit(f"Cutana stopped: {outcome}")
        made, channels = len(pd.read_parquet(outcome["mapping_parquet"])), len(bands)
    print(f"{made} {channels} {time.perf_counter() - begin:.3f}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
