"""What ends a command early; main() turns it into one line on stderr and an exit code."""


class Failure(Exception):
    """Something is wrong outside: exit code 1.  The text says what, and what to do."""

    code = 1


class Usage(Failure):
    """The command line is wrong: exit code 2."""

    code = 2
