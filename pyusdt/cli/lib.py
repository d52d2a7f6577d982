"""pyusdt lib: the path of the library."""

import argparse

from . import options


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "lib",
        help="print the path of the library with the probes",
        description="Print the path of the library with the probes, for a tracer's command line.",
        epilog='examples:\n  sudo bpftrace -l "usdt:$(pyusdt lib):*"\n',
        formatter_class=options.Formatter,
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import pyusdt

    print(pyusdt.lib)
    return 0
