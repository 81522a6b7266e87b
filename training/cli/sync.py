"""`morph sync`: send to MLflow the records that could not be logged."""

import click


@click.command(name="sync")
def command() -> None:
    """Send to MLflow the records that could not be logged while it did not answer.

    A training neither stops nor waits while an MLflow server does not answer: its records are kept in mlruns/unsent,
    below the current directory, and this verb sends them, in order, to their store.
    """
    from training.experiments.outbox import send_all

    send_all(click.echo)
