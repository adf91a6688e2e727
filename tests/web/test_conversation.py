"""What a model is sent of a conversation."""

import base64
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_serve.errors import BodyTooLarge, RemoteError, ServeError, WorkerLost
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


def of_worker(code: str) -> ServeError:
    return RemoteError.from_body({"error": {"message": "refused", "code": code}}, 400)


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


@pytest.mark.parametrize(
    "code",
    [
        "media_unreadable",
        "media_too_large",
        "media_not_accepted",
        "context_length_exceeded",
        "text_too_large",
    ],
)
def test_a_question_refused_for_its_files_or_length_is_left_out_of_what_follows(
    media: MediaStore, picture: StoredFile, code: str
) -> None:
    refused = asked("one", "", "from b", files=(picture,))
    refused.answers[0].end("failed", 1.0, of_worker(code))
    history = [refused, asked("two", "", "")]
    assert messages(history, media, "") == [
        {"role": "user", "content": [{"type": "text", "text": "two"}]}
    ]
    of_other = messages(history, media, "", slot=1)
    assert [part["type"] for part in of_other[0]["content"]] == ["image_url", "text"]


def test_a_question_refused_for_its_files_is_sent_when_it_is_asked_again(
    media: MediaStore, picture: StoredFile
) -> None:
    exchange = asked("one", "", files=(picture,))
    exchange.answers[0].end("failed", 1.0, of_worker("media_unreadable"))
    exchange.answers[0] = Answer("tiny")
    assert len(messages([exchange], media, "")[0]["content"]) == 2


def test_a_question_whose_worker_was_lost_is_sent_with_the_next(media: MediaStore) -> None:
    exchange = asked("one", "")
    exchange.answers[0].end("failed", 1.0, WorkerLost("http://w:1", "gone"))
    (said,) = messages([exchange, asked("two", "")], media, "")
    assert [part["text"] for part in said["content"]] == ["one", "two"]


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
