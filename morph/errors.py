"""The one exception that a user's mistake raises."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one sentence that says what is wrong and what to do instead. The command line
    prints it and exits with status 2; the server answers INVALID_ARGUMENT with it.
    """
