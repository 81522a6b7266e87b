"""`morph sync`: send to MLflow what could not be logged."""

import click


@click.command(name="sync")
def command() -> None:
    """Send to MLflow what could not be logged when it did not answer.

    A training neither stops nor waits where an MLflow server goes away: what it has to log is kept in mlruns/unsent,
    below the current directory, and sent by this, in its order, to the store that it was meant for.
    """
    from training.experiments.outbox import send_all

    send_all(click.echo)
