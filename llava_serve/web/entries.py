"""Entries of the list of conversations as HTML, by the day on which they were used."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from types import MappingProxyType

from babel import Locale
from babel.dates import format_date

from llava_serve.storage.listing import LONGEST_TITLE, Entry
from llava_serve.web.render import plain_text
from llava_serve.web.translations.language import current, translate

_KINDS = {"chat": "chat.tab", "compare": "compare.tab", "arena": "arena.tab"}


def no_cookies() -> str:
    """Say why nothing is listed where nobody can be told from another."""
    return _hint(translate("past.no_cookies"))


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
        return _hint(translate("past.none_found" if is_search else "past.none_yet"))
    days = []
    for used, of_day in groupby(entries, day):
        items = "".join(_item(entry, parts.get(entry.id, "")) for entry in of_day)
        days.append(f"<h3>{_day(used, now.date())}</h3><ul>{items}</ul>")
    if has_more:
        days.append(_button(translate("past.more"), "more", "wide"))
    return "".join(days)


def _hint(text: str) -> str:
    return f'<p class="hint">{text}</p>'


def _button(text: str, do: str, style: str = "") -> str:
    style = f'class="{style}" ' if style else ""
    return f'<button type="button" {style}data-do="{do}">{text}</button>'


def _day(used: date, today: date) -> str:
    if used == today:
        return translate("past.today")
    if used == today - timedelta(days=1):
        return translate("past.yesterday")
    form = translate("past.day" if used.year == today.year else "past.day_of_year")
    return format_date(used, form, Locale.parse(current.get().tag, sep="-"))


def _item(entry: Entry, part: str) -> str:
    kind = entry.kind if entry.kind in _KINDS else "chat"
    title, name = plain_text(entry.title or translate("past.untitled")), plain_text(entry.id)
    return (
        f'<li data-id="{name}" data-kind="{kind}" data-title="{title}">'
        f'<a href="?{kind}={name}" title="{title}"><span class="title">{title}</span>'
        f'<span class="kind">{translate(_KINDS[kind])}</span></a>'
        '<details class="of-one">'
        f'<summary aria-label="{translate("past.actions_of", title=title)}" '
        f'title="{translate("past.actions")}">⋯</summary>'
        f'<form data-do="rename"><input name="title" value="{plain_text(entry.title)}" '
        f'maxlength="{LONGEST_TITLE}" aria-label="{translate("past.entry_title")}" '
        'autocomplete="off">'
        f'<button type="submit">{translate("past.rename")}</button></form>'
        + _button(translate("past.save_json"), "json")
        + _button(translate("past.save_html"), "html")
        + f"{part}<details><summary>{translate('past.delete')}</summary>"
        f"<p>{translate('past.delete_warning')}</p>"
        f"{_button(translate('past.delete_sure'), 'delete', 'danger')}</details></details></li>"
    )
