"""Tables that are refreshed in place on a terminal, by rich if it is installed.

rich is an extra (`pip install 'pyusdt[cli]'`): it is imported here alone, and only
when a terminal is written to.
"""

from typing import IO, Any

from .report import Result, Text, cells, histogram_text


def is_possible(out: IO[str]) -> bool:
    if not out.isatty():
        return False
    try:
        import rich.live  # noqa: F401
    except ImportError:
        return False
    return True


class Live(Text):
    """A text writer whose snapshots replace one another; the last one stays."""

    def __init__(self, out: IO[str], names: list[list[str]], top: int | None):
        super().__init__(out, names, top)
        from rich.console import Console
        from rich.live import Live as Screen

        self.console = Console(file=out, highlight=False)
        self.screen: Any = Screen(
            console=self.console, auto_refresh=False, transient=True, vertical_overflow="crop"
        )
        self.is_on = False

    def refresh(self, result: Result) -> None:
        from rich.console import Group
        from rich.table import Table as Grid
        from rich.text import Text as Words

        room = max(5, self.console.size.height - 4)
        parts: list[Any] = []
        for table in result.tables(min(self.top or room, room)):
            heading, rows, numeric = cells(table)
            grid = Grid(box=None, pad_edge=False)
            for name, number in zip(heading, numeric, strict=True):
                grid.add_column(name, justify="right" if number else "left", no_wrap=True)
            for row in rows:
                grid.add_row(*(Words(text) for text in row))
            parts.append(grid)
        parts += [Words(histogram_text(one)) for one in result.histograms(self.top or 3)]
        if not self.is_on:
            self.screen.start()
            self.is_on = True
        self.screen.update(Group(*parts), refresh=True)

    def stop(self) -> None:
        if self.is_on:
            self.screen.stop()
            self.is_on = False

    def tables(self, result: Result, seconds: float | None = None) -> None:
        """The last ones, for good."""
        self.stop()
        super().tables(result)
