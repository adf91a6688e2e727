"""A folder's table is written from answers that were drawn before, and only while it is wanted."""

from concurrent.futures import CancelledError
from pathlib import Path
from secrets import token_hex

import pytest

from llava_serve.storage.identity import NOBODY
from llava_serve.storage.media import MediaStore
from llava_serve.web import render
from llava_serve.web.compare import contact_sheet, folder_view
from llava_serve.web.compare.folder_run import FolderImage, FolderRun
from llava_serve.web.parameters import Parameters
from llava_serve.web.reply import StreamedReply

SHA256 = "a" * 64


def run_of(*texts: str) -> FolderRun:
    """A run of one model that has said these texts."""
    images = [FolderImage(f"{SHA256}.png", f"{number}.png") for number in range(len(texts))]
    answers = {}
    for number, text in enumerate(texts):
        reply = answers[number, 0] = StreamedReply("echo")
        reply.text = text
        reply.end("done", 0.0)
    return FolderRun("one", "what?", ["echo"], Parameters(), images, answers, NOBODY)


def test_an_answer_is_drawn_once_and_kept() -> None:
    text = f"**{token_hex(8)}**"
    first, second = [folder_view.table(run_of(text), lambda: None) for _ in range(2)]
    assert first == second and f"<strong>{text.strip('*')}</strong>" in first
    kept = render.ended_text
    assert kept.cache is not None and kept.cache_key(text) in kept.cache


def test_what_nobody_waits_for_is_not_written_on(tmp_path: Path) -> None:
    left = iter([False, False, True])

    def go_on() -> None:
        if next(left):
            raise CancelledError

    run = run_of("a", "b", "c", "d")
    with pytest.raises(CancelledError):
        folder_view.table(run, go_on)
    assert next(left, None) is None
    left = iter([False, True])
    with pytest.raises(CancelledError):
        contact_sheet.as_page(run, MediaStore(tmp_path, 1), go_on)
    assert next(left, None) is None
