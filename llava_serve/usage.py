"""Usage command: sums the audit of requests by key, model and day, as a table or CSV."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Annotated

from llava_serve import args
from llava_serve.accounts.config import AccountsConfig
from llava_serve.accounts.store import UsageSum
from llava_serve.api_key import day_start
from llava_serve.errors import StorageFailed
from llava_serve.logs import replace_unprintable
from llava_serve.text_table import inert, text_table

_HEAD = tuple(field.name for field in fields(UsageSum))


@dataclass(frozen=True, kw_only=True)
class UsageConfig(AccountsConfig):
    """Show how many requests and tokens each key had, by model and day.

    A controller writes down what is summed here while it runs with --audit. Days are those of UTC.
    """

    since: Annotated[str | None, "first day, as 2027-01-31; default: 30 days ago"] = None
    until: Annotated[str | None, "last day; default: today"] = None
    csv: Annotated[bool, "write CSV"] = False

    def __post_init__(self) -> None:
        if self.begin >= self.end:
            raise ValueError(f"--since {self.since} is after --until {self.until or 'today'}")

    @property
    def begin(self) -> float:
        """The first second that counts."""
        if self.since is not None:
            return day_start(self.since, "--since")
        return (_today() - timedelta(days=30)).timestamp()

    @property
    def end(self) -> float:
        """The first second that does not count any more."""
        day = _today().timestamp() if self.until is None else day_start(self.until, "--until")
        return day + 86_400


def main(argv: Sequence[str] | None = None) -> None:
    """Write the sums to standard output."""
    replace_unprintable()
    config = args.parse(UsageConfig, argv)
    try:
        with config.opened() as store:
            sums, place = store.usage(config.begin, config.end), store.place
    except StorageFailed as exc:
        raise SystemExit(exc.with_remedy) from exc
    rows = [_HEAD, *(astuple(one) for one in sums)]
    if config.csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows(
            [inert(cell) for cell in row] for row in rows
        )
    else:
        sys.stdout.write(text_table(rows))
    if not sums:
        sys.stderr.write(
            f"nothing of these days is written down in {place}; a controller does so while it runs "
            "with --audit\n"
        )


def _today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


if __name__ == "__main__":
    main()
