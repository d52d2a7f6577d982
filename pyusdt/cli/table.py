"""Rows of a listing as text, JSON lines or CSV."""

import csv
import json
import sys
from typing import Any

from .report import Table, table_text


def show(columns: list[str], rows: list[list[Any]], kind: str) -> None:
    if kind == "json":
        for row in rows:
            print(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False))
    elif kind == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        sys.stdout.write(table_text(Table("", columns, rows)))
