"""Folder as a browser and a spreadsheet get it: cells as HTML, and a table as CSV."""

import csv
import io
from collections.abc import Iterator

from llava_serve.text_table import inert
from llava_serve.web.compare.folder_run import FolderRun, Place
from llava_serve.web.heavy_work import GoOn
from llava_serve.web.render import ended_text, error_card, facts_of, model_text, note_of, plain_text
from llava_serve.web.reply import StreamedReply
from llava_serve.web.translations.language import translate

_HEAD = ("picture", "sha256", "question")
_UTF8_BOM = "\ufeff"  # spreadsheets take a file without it for one of another alphabet


def cell(reply: StreamedReply, place: Place) -> str:
    """Render an answer; one that did not end well can be asked again."""
    parts = []
    if reply.text:
        text = model_text(reply.text) if reply.is_open else ended_text(reply.text)
        parts.append(f'<div class="text">{text}</div>')
    elif reply.is_open:
        parts.append(f'<p class="note">{translate("folder.waiting")}</p>')
    if (note := note_of(reply)) is not None:
        parts.append(f'<p class="note">{note}</p>')
    if reply.error is not None:
        parts.append(error_card(reply.error, reply.request_id))
    if reply.state in ("failed", "stopped"):
        where, again = f"{place[0]}.{place[1]}", translate("folder.ask_again")
        parts.append(f'<button type="button" data-again="{where}">{again}</button>')
    elif facts := facts_of(reply):
        parts.append(f"<small>{facts}</small>")
    return f'<div class="turn {reply.state}">{"".join(parts)}</div>'


def table(run: FolderRun, go_on: GoOn) -> str:
    """Render all of a folder: an image a row, a model a column, each cell found by its place."""
    head = "".join(f'<th scope="col">{plain_text(model)}</th>' for model in run.models)
    rows = "".join(_row(run, position, go_on) for position in range(len(run.images)))
    first = f'<th scope="col">{translate("folder.picture")}</th>'
    return f"<table><thead><tr>{first}{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(run: FolderRun, position: int, go_on: GoOn) -> str:
    go_on()
    image = run.images[position]
    name = plain_text(image.name)
    source = f"media/{plain_text(image.filename)}"
    shown = (
        f'<a href="{source}" target="_blank" rel="noopener"><img src="{source}" alt="" '
        f'loading="lazy"><span>{name}</span></a>'
    )
    cells = []
    for slot in range(len(run.models)):
        place = (position, slot)
        reply = run.answers.get(place)
        missing = f'<p class="note">{translate("folder.not_asked_yet")}</p>'
        html = missing if reply is None else cell(reply, place)
        cells.append(f'<td data-place="{position}.{slot}">{html}</td>')
    return f'<tr><th scope="row">{shown}</th>{"".join(cells)}</tr>'


def as_csv(run: FolderRun) -> str:
    """Write a folder as CSV: an image a line; no cell is a formula to a spreadsheet.

    Its words are English in every language, for programs.
    """
    out = io.StringIO()
    out.write(_UTF8_BOM)
    writer = csv.writer(out)
    writer.writerows([inert(value) for value in row] for row in _rows(run))
    return out.getvalue()


def _rows(run: FolderRun) -> Iterator[list[str]]:
    columns = [[model, f"{model}: error"] for model in run.models]
    yield [*_HEAD, *(name for pair in columns for name in pair)]
    for position, image in enumerate(run.images):
        row = [image.name, image.filename.partition(".")[0], run.question]
        for slot in range(len(run.models)):
            reply = run.answers.get((position, slot))
            row += ["", ""] if reply is None else [reply.text, _why(reply)]
        yield row


def _why(reply: StreamedReply) -> str:
    if reply.error is not None:
        return reply.error.user_message
    return "" if reply.state == "done" else reply.state
