"""Files are judged before they are uploaded, by the rules that hold for a question."""

import base64
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_serve.storage.media import MediaStore
from llava_serve.web.attaching import MOST_FILES, Offer, Verdict, judge

Judge = Callable[[Offer], Verdict]


@pytest.fixture
def verdict_on(tmp_path: Path) -> Judge:
    media = MediaStore(tmp_path, limit_bytes=1000)
    return partial(judge, media=media, max_body_bytes=3000)


def png() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (4, 4)).save(data, "PNG")
    return data.getvalue()


def file(name: str, data: bytes, size_bytes: int | None = None) -> dict[str, Any]:
    head = base64.b64encode(data[:1024]).decode()
    return {"name": name, "size_bytes": size_bytes or len(data), "head": head}


def offer(*files: dict[str, Any], attached: int = 0) -> Offer:
    return Offer.model_validate({"files": files, "attached": attached})


def test_content_decides_and_not_the_name(verdict_on: Judge) -> None:
    verdict = verdict_on(offer(file("photo", png()), file("x.png", b"hello"), file("", b"")))
    assert verdict.refused == [1, 2]
    assert "it is text" in verdict.cards and "nothing at all" in verdict.cards


def test_a_file_beyond_the_limit_is_refused_by_its_size(verdict_on: Judge) -> None:
    verdict = verdict_on(offer(file("big.png", png(), 2000), file("small.png", png())))
    assert verdict.refused == [0]
    assert "big.png" in verdict.cards and "the limit is" in verdict.cards


def test_files_that_are_too_large_together_are_all_refused(verdict_on: Judge) -> None:
    verdict = verdict_on(offer(*[file("x.png", png(), 900)] * 4))
    assert verdict.refused == [0, 1, 2, 3]
    assert "body_too_large" in verdict.cards


def test_what_is_attached_already_counts(verdict_on: Judge) -> None:
    one = file("x.png", png())
    assert verdict_on(offer(one, attached=MOST_FILES - 1)).refused == []
    verdict = verdict_on(offer(one, attached=MOST_FILES))
    assert verdict.refused == [0] and f"at most {MOST_FILES} can be" in verdict.cards


def test_a_name_is_text_and_many_cards_are_counted(verdict_on: Judge) -> None:
    verdict = verdict_on(offer(*[file("<b>x</b>", b"text")] * 5))
    assert "<b>" not in verdict.cards
    assert verdict.cards.count('class="card error"') == 3 and "and 2 more files" in verdict.cards
