"""A folder's table is written from answers that were drawn before, and only while it is wanted."""

from concurrent.futures import CancelledError
from pathlib import Path
from secrets import token_hex

import pytest

from llava_serve.storage.identity import NOBODY
from llava_serve.storage.media import MediaStore
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


def test_an_answer_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, model_text = list[str](), folder_view.model_text

    def watched(text: str) -> str:
        drawn.append(text)
        return model_text(text)

    monkeypatch.setattr(folder_view, "model_text", watched)
    texts = [f"**{token_hex(8)}**" for _ in range(3)]
    first, second = [folder_view.table(run_of(*texts), lambda: None) for _ in range(2)]
    assert first == second and f"<strong>{texts[0].strip('*')}</strong>" in first
    assert drawn == texts


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
