"""Galaxies per second of every engine that answers in bulk, beside the network of Domínguez Sánchez et al. (2018).

    python benchmarks/fast_path.py [--model MODEL] [--rounds 15] [--target 8]

All outputs are computed, on all cores, in turns, so that whatever else the machine does falls on all alike; the
network of 2018, which answers one question, runs in TensorFlow. Galaxies simulated as DES sees them go through, and
the fast path's answers are compared with Keras's. Ends by itself in about two minutes; the exit status is 1 where the
target is missed or the answers disagree.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent))

import click
import numpy as np
import tensorflow as tf
from forward import dominguez_sanchez_2018, saved_model

from morph.model.store import load_model
from morph.registry import SHIPPED_NAME, find_model
from morph.simulation.sample import simulate_galaxy
from morph.surveys import get_survey
from serving.openvino.conversion import LIMITS, Parity
from serving.openvino.engine import converted
from serving.openvino.model import FastModel
from serving.protocol import OUTPUTS

#: Galaxies that are simulated, in one turn of every engine, and in one batch of those that run in TensorFlow.
SIMULATED, TURN, BATCH = 256, 512, 128
PEER = "Domínguez Sánchez et al. 2018"

Run = Callable[[np.ndarray], object]


def batches(run: Run) -> Run:
    """`run` for a turn, batch by batch."""
    return lambda images: [run(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]


def measured(engines: dict[str, tuple[Run, np.ndarray]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds, and seconds of processor, of every turn of every engine."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    # The first round compiles.
    for _ in range(rounds + 1):
        for name, (run, images) in engines.items():
            start, used = time.perf_counter(), time.process_time()
            run(images)
            times[name].append((time.perf_counter() - start, time.process_time() - used))
    return {name: each[1:] for name, each in times.items()}


def ratio(times: dict[str, list[tuple[float, float]]], name: str, clock: int) -> float:
    """How many times faster than the network of 2018, by the wall's clock (0) or the processor's (1)."""
    return median(peer[clock] / own[clock] for own, peer in zip(times[name], times[PEER], strict=True))


@click.command()
@click.option("--model", default=SHIPPED_NAME, show_default=True)
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(1))
@click.option("--target", default=8.0, show_default=True, help="Times the speed of the network of 2018.")
def main(model: str, rounds: int, target: float) -> None:
    """Time every engine, and compare the answers."""
    path = find_model(model)
    classifier = load_model(path)
    margin = slice((96 - classifier.size) // 2, (96 + classifier.size) // 2)
    stamps = [simulate_galaxy(7, index, get_survey("des")).galaxy.image for index in range(SIMULATED)]
    galaxies = np.stack(stamps)[:, margin, margin]
    turn = np.resize(galaxies, (TURN, *galaxies.shape[1:]))
    pictures = np.random.default_rng(0).random((TURN, 69, 69, 3), dtype="float32")
    peer = dominguez_sanchez_2018()
    compiled = tf.function(lambda images: peer(images, training=False), reduce_retracing=True)
    rounded = saved_model(classifier.in_precision("mixed_bfloat16"))
    with FastModel(converted(path)) as fast:
        engines: dict[str, tuple[Run, np.ndarray]] = {
            PEER: (batches(lambda images: compiled(tf.constant(images)).numpy()), pictures),
            "TensorFlow, float32": (batches(saved_model(classifier)), turn),
            "TensorFlow, bfloat16": (batches(rounded), turn),
            "fast path (OpenVINO)": (lambda images: fast.answer(images, OUTPUTS), turn),
        }
        times = measured(engines, rounds)
        parity = Parity.of(fast.answer(galaxies, OUTPUTS), classifier.answer(galaxies))
    print(f"{fast.threads} threads, {rounds} rounds in turns, all outputs; medians")
    print(f"{'':32}{'galaxies/s':>11}{'ratio':>8}{'of CPU time':>13}")
    for name, each in times.items():
        rate = TURN / median(wall for wall, _ in each)
        print(f"{name:32}{rate:11,.0f}{ratio(times, name, 0):8.2f}{ratio(times, name, 1):13.2f}")
    reached, agree = ratio(times, "fast path (OpenVINO)", 0) >= target, parity.within(LIMITS)
    print(f"at least {target:g} times the network of 2018: {'yes' if reached else 'NO'}")
    print(f"answers of {len(galaxies)} simulated galaxies as Keras gives them: {'yes' if agree else 'NO'}; {parity}")
    sys.exit(0 if reached and agree else 1)


if __name__ == "__main__":
    main()
