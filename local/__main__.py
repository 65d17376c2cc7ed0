"""`python -m local run | demo | flask ARGUMENTS…`, which the Makefile calls."""

import sys

from local import demo, environment, run
from local.managed_process import StartupError

USAGE = "usage: python -m local run | demo | flask ARGUMENTS..."


def main(arguments: list[str]) -> int:
    """The exit code of the command."""
    match arguments:
        case ["run"]:
            return run.main()
        case ["demo"]:
            return demo.main()
        case ["flask", *command]:
            environment.exec_flask(command)
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except StartupError as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        sys.exit(130)
