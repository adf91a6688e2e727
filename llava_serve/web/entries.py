"""Entries of the list of conversations as HTML, by the day on which they were used."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from types import MappingProxyType

from llava_serve.storage.listing import LONGEST_TITLE, Entry
from llava_serve.web.render import plain_text

NO_COOKIES = (
    '<p class="hint">This browser keeps no cookies for this page, so its conversations cannot be '
    "listed. Their addresses find them all the same.</p>"
)
_NONE_YET = '<p class="hint">Nothing here yet. What you ask will be listed here.</p>'
_NONE_FOUND = '<p class="hint">No conversation holds all of these words.</p>'
_MORE = '<button type="button" class="wide" data-do="more">Show older ones</button>'
_KINDS = {"chat": "Chat", "compare": "Compare", "arena": "Arena"}


def listing(
    entries: Sequence[Entry],
    now: datetime,
    *,
    is_search: bool = False,
    has_more: bool = False,
    parts: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Render entries, the newest first; `now` has the time zone of their user.

    `parts` are more of what can be done to one, as HTML, by its id.
    """

    def day(entry: Entry) -> date:
        return datetime.fromtimestamp(entry.used_at, now.tzinfo).date()

    if not entries:
        return _NONE_FOUND if is_search else _NONE_YET
    days = []
    for used, of_day in groupby(entries, day):
        items = "".join(_item(entry, parts.get(entry.id, "")) for entry in of_day)
        days.append(f"<h3>{_day(used, now.date())}</h3><ul>{items}</ul>")
    return "".join(days) + (_MORE if has_more else "")


def _day(used: date, today: date) -> str:
    if used == today:
        return "Today"
    if used == today - timedelta(days=1):
        return "Yesterday"
    year = f" {used.year}" if used.year != today.year else ""
    return f"{used:%A}, {used.day} {used:%B}{year}"


def _item(entry: Entry, part: str) -> str:
    kind = entry.kind if entry.kind in _KINDS else "chat"
    title, name = plain_text(entry.title), plain_text(entry.id)
    return (
        f'<li data-id="{name}" data-kind="{kind}" data-title="{title}">'
        f'<a href="?{kind}={name}" title="{title}"><span class="title">{title}</span>'
        f'<span class="kind">{_KINDS[kind]}</span></a>'
        f'<details class="of-one"><summary aria-label="Rename, save or delete: {title}" '
        'title="Rename, save or delete">⋯</summary>'
        f'<form data-do="rename"><input name="title" value="{title}" maxlength="{LONGEST_TITLE}" '
        'aria-label="Title" autocomplete="off"><button type="submit">Rename</button></form>'
        '<button type="button" data-do="json">Save as JSON</button>'
        '<button type="button" data-do="html">Save as a web page</button>'
        f"{part}<details><summary>Delete …</summary><p>This conversation and its pictures will be "
        'gone for good.</p><button type="button" class="danger" data-do="delete">Yes, delete it'
        "</button></details></details></li>"
    )
