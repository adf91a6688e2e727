"""The list of conversations as HTML: by the days of its user, and with nothing of a title in it."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

from llava_serve.storage.listing import Entry
from llava_serve.web import entries
from llava_serve.web.translations.catalogue import CHINESE
from llava_serve.web.translations.language import current

NOW = datetime(2026, 1, 2, 9, 30, tzinfo=ZoneInfo("Europe/Berlin"))


def entry(time: str, title: str = "what?", kind: str = "chat") -> Entry:
    return Entry("a" * 32, kind, title, datetime.fromisoformat(time).timestamp())


def test_the_days_are_those_of_the_user() -> None:
    used = [
        "2026-01-02T08:00:00+00:00",
        "2026-01-01T23:30:00+00:00",  # 0:30 in Berlin
        "2026-01-01T22:30:00+00:00",
        "2025-12-31T12:00:00+00:00",
        "2025-12-30T12:00:00+00:00",
        "2025-12-30T11:00:00+00:00",
    ]
    html = entries.listing([entry(time) for time in used], NOW)
    days = ["Today", "Yesterday", "Wednesday, 31 December 2025", "Tuesday, 30 December 2025"]
    assert re.findall("<h3>(.*?)</h3>", html) == days
    assert [part.count("<li ") for part in html.split("<h3>")[1:]] == [2, 1, 1, 2]
    later = NOW.replace(month=6)
    assert "<h3>Friday, 2 January</h3>" in entries.listing([entry(used[0])], later)


def test_the_days_are_written_as_in_the_language_of_the_page() -> None:
    used = ["2026-01-02T08:00:00+00:00", "2025-12-31T12:00:00+00:00", "2025-12-30T12:00:00+00:00"]
    language = current.set(CHINESE)
    html = entries.listing([entry(time) for time in used], NOW)
    later = entries.listing([entry(used[0])], NOW.replace(month=6))
    current.reset(language)
    days = ["今天", "2025年12月31日 星期三", "2025年12月30日 星期二"]
    assert re.findall("<h3>(.*?)</h3>", html) == days
    assert "<h3>1月2日 星期五</h3>" in later


def test_without_a_title_one_is_called_so_in_the_language_of_the_page() -> None:
    language = current.set(CHINESE)
    html = entries.listing([entry("2026-01-02T08:00:00+00:00", "")], NOW)
    current.reset(language)
    assert '<span class="title">无标题</span>' in html
    assert 'name="title" value=""' in html  # what is typed is the title, and nothing else


def test_a_title_is_text_and_nothing_else() -> None:
    html = entries.listing([entry("2026-01-02T08:00:00+00:00", '"><script>x</script>')], NOW)
    assert "<script" not in html and '=""' not in html
    assert html.count("&quot;&gt;&lt;script&gt;x&lt;/script&gt;") >= 3


def test_what_there_is_none_of_is_said() -> None:
    assert "Nothing here yet" in entries.listing([], NOW)
    assert "No conversation holds" in entries.listing([], NOW, is_search=True)
    more = entries.listing([entry("2026-01-02T08:00:00+00:00")], NOW, has_more=True)
    assert "Show older ones" in more
