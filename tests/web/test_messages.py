"""What a model is sent of a conversation, and that as JSON."""

import base64
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llava_serve.errors import BodyTooLarge, RemoteError, ServeError, WorkerLost
from llava_serve.protocol.openai import parse_chat_request
from llava_serve.storage.media import MediaStore, StoredFile
from llava_serve.web import messages as module
from llava_serve.web.chat_state import Exchange
from llava_serve.web.messages import DataUri, check_size, data_uri, dumps
from llava_serve.web.reply import StreamedReply


@pytest.fixture
def media(tmp_path: Path) -> MediaStore:
    return MediaStore(tmp_path / "media", 1_000_000)


@pytest.fixture
def image(media: MediaStore, tmp_path: Path) -> StoredFile:
    Image.new("RGB", (4, 4)).save(tmp_path / "dot.png")
    return media.put(tmp_path / "dot.png")


def messages(
    exchanges: list[Exchange], media: MediaStore, system: str, slot: int = 0
) -> list[dict[str, Any]]:
    return module.messages(exchanges, partial(data_uri, media), system, slot)


def asked(text: str, *replies: str, files: tuple[StoredFile, ...] = ()) -> Exchange:
    return Exchange(text, files, [StreamedReply("tiny", text=reply) for reply in replies])


def of_worker(code: str) -> ServeError:
    return RemoteError.from_body({"error": {"message": "refused", "code": code}}, 400)


def test_turns_alternate_and_images_come_first(media: MediaStore, image: StoredFile) -> None:
    said = messages([asked("one", "1", files=(image,)), asked("two", "")], media, "be brief")
    assert [message["role"] for message in said] == ["system", "user", "assistant", "user"]
    first, text = said[1]["content"]
    data = base64.b64encode(media.read(image)).decode()
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
    media: MediaStore, image: StoredFile, code: str
) -> None:
    refused = asked("one", "", "from b", files=(image,))
    refused.replies[0].end("failed", 1.0, of_worker(code))
    history = [refused, asked("two", "", "")]
    assert messages(history, media, "") == [
        {"role": "user", "content": [{"type": "text", "text": "two"}]}
    ]
    of_other = messages(history, media, "", slot=1)
    assert [part["type"] for part in of_other[0]["content"]] == ["image_url", "text"]


def test_a_question_refused_for_its_files_is_sent_when_it_is_asked_again(
    media: MediaStore, image: StoredFile
) -> None:
    exchange = asked("one", "", files=(image,))
    exchange.replies[0].end("failed", 1.0, of_worker("media_unreadable"))
    exchange.replies[0] = StreamedReply("tiny")
    assert len(messages([exchange], media, "")[0]["content"]) == 2


def test_a_question_whose_worker_was_lost_is_sent_with_the_next(media: MediaStore) -> None:
    exchange = asked("one", "")
    exchange.replies[0].end("failed", 1.0, WorkerLost("http://w:1", "gone"))
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


def test_images_that_fill_a_request_are_refused_before_they_are_read() -> None:
    check_size(37_000_000, limit_bytes=50_000_000)
    with pytest.raises(BodyTooLarge):
        check_size(40_000_000, limit_bytes=50_000_000)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"seed": None, "stream": True, "top_p": 0.5, "n": []}, id="no pictures"),
        pytest.param(
            {"a": [{"url": DataUri("data:image/png;base64,AA==")}], "b": DataUri("data:,b")},
            id="pictures",
        ),
        pytest.param(
            {"url": DataUri("data:,"), "text": 'says "quoted" \\ and Größe \u2028'}, id="odd text"
        ),
        pytest.param({"text": "data:image/png;base64,typed\n"}, id="typed by a user"),
    ],
)
def test_the_text_says_the_same(body: dict[str, Any]) -> None:
    assert dumps(body) == json.dumps(body)


def test_a_uri_is_copied_and_not_searched() -> None:
    """JSON's own encoder would escape this letter; to look for such takes the time."""
    assert dumps({"url": DataUri("data:,ü")}) == '{"url": "data:,ü"}'
