"""`morph evaluate`: measure a model on galaxies."""

import click


@click.command(name="evaluate")
@click.argument("model")
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train", "all"]),
    default="test",
    show_default=True,
    help="Which side of the dataset's split to measure on. Galaxies fall on a side by their id, the same in every "
    "dataset and in training, so the test side was never trained on. Take all of a dataset that no training saw.",
)
@click.option(
    "--folds",
    type=click.IntRange(2),
    help="Cross-validate instead: fine-tune MODEL on all folds but one, ask about that one, and so on. For sets too "
    "small to split; implies --split all.",
)
@click.option(
    "--alpha",
    "alphas",
    type=float,
    multiple=True,
    default=(0.01, 0.05),
    show_default=True,
    help="A rate of false alarms at which the anomaly score is measured; can be given several times.",
)
@click.option("--run", "name", metavar="NAME", help="What to call the run; MODEL on DATASET by default.")
@click.option("--experiment", default="morph", show_default=True, help="The MLflow experiment to file it under.")
@click.option("--json", "as_json", is_flag=True, help="Print every figure as one JSON document.")
def command(
    model: str,
    datasets: tuple[str, ...],
    split: str,
    folds: int | None,
    alphas: tuple[float, ...],
    name: str | None,
    experiment: str,
    as_json: bool,
) -> None:
    """Measure MODEL on the galaxies of the DATASETs that it has not seen.

    The figures, with 95 % intervals from a bootstrap over galaxies, plots and every prediction go to a run of MLflow;
    `morph compare` puts such runs side by side. The anomaly score is measured on anomalies planted on up to 200 of the
    galaxies, and on those that volunteers called an artifact.
    """
    import json
    from dataclasses import asdict, replace

    import numpy as np
    from rich.console import Console

    from morph.checks import check_memory
    from morph.dataset import Galaxies, dataset_name, find_dataset
    from morph.domain_shift.report import document, lines
    from morph.model.store import find_model, load_model
    from morph.votes import difference, one_kind, was_asked
    from training.evaluation.anomalies import check_alphas, measure_anomalies
    from training.evaluation.evaluate import evaluate, log, part_of, record, title_of
    from training.evaluation.photoz import evaluate_photoz
    from training.evaluation.tables import (
        anomaly_lines,
        anomaly_table,
        calibration_lines,
        calibration_table,
        evaluation_lines,
        evaluation_table,
    )
    from training.experiments import registry, tracking
    from training.experiments.tracking import check_tracking
    from training.experiments.training_record import TrainingRecord
    from training.fitting.reference_sample import log as log_distance
    from training.fitting.reference_sample import shift_of
    from training.fitting.sets import single_class, single_class_note
    from training.metrics.categories import expressed

    check_alphas(alphas)
    check_memory([find_dataset(path) for path in datasets])
    find_model(model)
    check_tracking()
    sets = [Galaxies.open(path) for path in datasets]
    galaxies = Galaxies.concatenate([part_of(each, "all" if folds else split) for each in sets])
    # A galaxy that stands in several datasets counts once.
    galaxies = galaxies.select(np.sort(np.unique(galaxies.ids, return_index=True)[1]))
    votes = one_kind(sets, "be measured against")
    if len({expressed(each.votes) for each in sets if was_asked(each.votes).any()}) > 1:
        click.echo(
            "These datasets' labels do not all express the same of the four classes (elliptical, spiral, edge-on, "
            "merger); evaluate them one by one for figures on those.",
            err=True,
        )
    classifier = load_model(model)
    overlap = TrainingRecord.from_text(classifier.seen).overlap(galaxies)
    for line in overlap.notes(model, classifier.about.get("trained_on", ())):
        click.echo(line, err=True)
    name = name or f"{model} on {dataset_name(galaxies)}"
    with tracking.run(experiment, name, "evaluate", parent=model) as run:
        run.log_dataset(galaxies, "evaluation")
        if not folds:
            run.tag(registry.identity(model, classifier.about))
        run.log_params({"model": model, "split": f"{folds} folds" if folds else split, "galaxies": len(galaxies)})
        if folds:
            from training.evaluation.crossvalidate import cross_validate

            evaluation = record(cross_validate(classifier, galaxies, folds), galaxies, model, f"{folds} folds")
        else:
            evaluation = evaluate(classifier, galaxies, model, split)
        kept = {"model_votes": classifier.about.get("votes", ""), "seen": overlap.document()}
        evaluation = replace(evaluation, about={**evaluation.about, **kept})
        # Over folds there is no one model to infer redshifts.
        photoz = None if folds else evaluate_photoz(classifier, galaxies)
        if photoz:
            evaluation = replace(evaluation, figures=evaluation.figures | photoz.flat())
            photoz.log_plots(run, title_of(evaluation))
        log(run, evaluation, galaxies)
        # Over folds there is no one model whose score could be measured either.
        held_out = [each.split()["validation"] for each in sets] if split in ("train", "test") else []
        reference = Galaxies.concatenate(held_out) if held_out else None
        anomalies = None if folds else measure_anomalies(classifier, galaxies, reference, alphas)
        if anomalies:
            anomalies.log(run, title_of(evaluation))
        distance = shift_of(classifier, galaxies)
        log_distance(run, distance, galaxies)
    if as_json:
        figures = {name: asdict(figure) for name, figure in evaluation.figures.items()}
        about: dict[str, object] = {
            "run": run.id,
            "about": evaluation.about,
            "figures": figures,
            "shift": document(distance),
        }
        about["anomalies"] = anomalies.document() if anomalies else None
        click.echo(json.dumps(about))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    console.print(f"{model} on {title_of(evaluation)}", markup=False)
    if evaluation.questions():
        console.print(evaluation_table(evaluation))
        console.print()
        console.print(calibration_table(evaluation))
        # Over folds the models are trained on these very votes.
        answered = votes if folds else classifier.about.get("votes", "")
        console.print(difference(answered, votes), markup=False)
    else:
        console.print("Nobody's votes to measure against; only strangeness is measured.")
    note = single_class_note(single_class(evaluation.votes), "a model that always gives it is correct there")
    if note:
        console.print(note, markup=False)
    for line in [*evaluation_lines(evaluation), *calibration_lines(evaluation)]:
        console.print(line)
    if anomalies:
        if anomalies.figures:
            console.print()
            console.print(anomaly_table(anomalies))
        for line in anomaly_lines(anomalies):
            console.print(line)
    for line in photoz.lines() if photoz else ():
        console.print(line, markup=False)
    for line in lines(distance):
        console.print(line, markup=False)
    console.print(f"Run '{run.name}' ({run.id}) of experiment '{run.experiment}'.", markup=False)
