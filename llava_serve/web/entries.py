"""Entries of the list of conversations as HTML, by the day on which they were used."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import groupby

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
    entries: Sequence[Entry], now: datetime, *, is_search: bool = False, has_more: bool = False
) -> str:
    """Render entries, the newest first; `now` has the time zone of their user."""

    def day(entry: Entry) -> date:
        return datetime.fromtimestamp(entry.used_at, now.tzinfo).date()

    if not entries:
        return _NONE_FOUND if is_search else _NONE_YET
    parts = []
    for used, of_day in groupby(entries, day):
        items = "".join(map(_item, of_day))
        parts.append(f"<h3>{_day(used, now.date())}</h3><ul>{items}</ul>")
    return "".join(parts) + (_MORE if has_more else "")


def _day(used: date, today: date) -> str:
    if used == today:
        return "Today"
    if used == today - timedelta(days=1):
        return "Yesterday"
    year = f" {used.year}" if used.year != today.year else ""
    return f"{used:%A}, {used.day} {used:%B}{year}"


def _item(entry: Entry) -> str:
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
        "<details><summary>Delete …</summary><p>This conversation and its pictures will be gone "
        'for good.</p><button type="button" class="danger" data-do="delete">Yes, delete it'
        "</button></details></details></li>"
    )
