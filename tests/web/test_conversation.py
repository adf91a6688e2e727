"""What a model is sent of a conversation."""

import base64
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_serve.errors import BodyTooLarge
from llava_serve.protocol.openai import parse_chat_request
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.web import conversation
from llava_serve.web.answer import Answer
from llava_serve.web.conversation import Exchange, check_size, data_uri


@pytest.fixture
def media(tmp_path: Path) -> MediaStore:
    return MediaStore(tmp_path / "media", 1_000_000)


@pytest.fixture
def picture(media: MediaStore, tmp_path: Path) -> StoredFile:
    Image.new("RGB", (4, 4)).save(tmp_path / "dot.png")
    return media.put(tmp_path / "dot.png")


def messages(
    exchanges: list[Exchange], media: MediaStore, system: str, slot: int = 0
) -> list[dict[str, Any]]:
    return conversation.messages(exchanges, partial(data_uri, media), system, slot)


def asked(text: str, *answers: str, files: tuple[StoredFile, ...] = ()) -> Exchange:
    return Exchange(text, files, [Answer("tiny", text=answer) for answer in answers])


def test_turns_alternate_and_pictures_come_first(media: MediaStore, picture: StoredFile) -> None:
    said = messages([asked("one", "1", files=(picture,)), asked("two", "")], media, "be brief")
    assert [message["role"] for message in said] == ["system", "user", "assistant", "user"]
    first, text = said[1]["content"]
    data = base64.b64encode(media.read(picture)).decode()
    assert first == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    assert text == {"type": "text", "text": "one"}
    parse_chat_request({"model": "tiny", "messages": said})


def test_a_question_without_an_answer_joins_the_next(media: MediaStore) -> None:
    said = messages([asked("one", ""), asked("two", "")], media, "")
    assert [part["text"] for part in said[0]["content"]] == ["one", "two"]
    assert len(said) == 1


def test_each_compared_model_knows_its_own_answers(media: MediaStore) -> None:
    history = [asked("one", "from a", "from b"), asked("two", "", "")]
    assert messages(history, media, "", slot=0)[1]["content"] == "from a"
    assert messages(history, media, "", slot=1)[1]["content"] == "from b"


def test_what_is_to_be_continued_ends_the_messages(media: MediaStore) -> None:
    said = messages([asked("one", "half an ans")], media, "")
    assert [message["role"] for message in said] == ["user", "assistant"]
    assert said[-1] == {"role": "assistant", "content": "half an ans"}


def test_pictures_that_fill_a_request_are_refused_before_they_are_read() -> None:
    check_size(37_000_000, limit_bytes=50_000_000)
    with pytest.raises(BodyTooLarge):
        check_size(40_000_000, limit_bytes=50_000_000)
