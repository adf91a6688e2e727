"""data: URIs as browsers and programs write them give bytes, and never more than the limit."""

import base64

import pytest

from llava_serve.errors import MediaTooLarge, MediaUnreadable
from llava_serve.media.uri import read_data_uri, trimmed

CONTENT = bytes(range(256))
BASE64 = base64.b64encode(CONTENT).decode()


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param(f"data:image/png;base64,{BASE64}", id="with a type"),
        pytest.param(f"data:;base64,{BASE64}", id="without a type"),
        pytest.param(f"DATA:image/png;charset=x;BASE64,{BASE64}", id="capitals and parameters"),
        pytest.param(
            f"data:;base64,{BASE64.replace('+', '%2B').replace('=', '%3D')}", id="escaped base64"
        ),
        pytest.param(
            "data:;base64,\n" + "\n".join(BASE64[i : i + 76] for i in (0, 76, 152, 228, 304)),
            id="base64 in lines",
        ),
        pytest.param(f"data:image/png;base64;charset=utf-8,{BASE64}", id="base64 not at the end"),
        pytest.param(f"data:image/png ; base64 ,{BASE64}", id="spaces around base64"),
        pytest.param(f"data:;base64,{BASE64.replace('+', '-').replace('/', '_')}", id="URL-safe"),
        pytest.param(f"data:;base64,{BASE64.rstrip('=')}", id="no padding"),
        pytest.param(f"data:;base64,{BASE64}==", id="too much padding"),
        pytest.param("data:image/png," + "".join(f"%{byte:02x}" for byte in CONTENT), id="escaped"),
    ],
)
def test_a_data_uri_gives_its_bytes(uri: str) -> None:
    assert read_data_uri(uri, limit_bytes=1000) == CONTENT


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        pytest.param("data:image/png;base64", "no comma", id="no content"),
        pytest.param("data:;base64,QUJDR", "5 characters .* missing", id="cut"),
        pytest.param("data:;base64,QU==JD", "base64", id="padding in the middle"),
        pytest.param("data:;base64,Q!JD", "base64", id="another character"),
        pytest.param("data:;base64,QUJé", "base64", id="not ASCII"),
    ],
)
def test_a_bad_data_uri_is_refused_with_the_reason(uri: str, reason: str) -> None:
    with pytest.raises(MediaUnreadable, match=reason):
        read_data_uri(uri, limit_bytes=1000)


@pytest.mark.parametrize("before", ["", " ", "\n\t", "\ufeff", "\ufeff "])
def test_what_stands_before_an_address_is_taken_off(before: str) -> None:
    assert trimmed(f"{before}data:,x\n") == "data:,x"


@pytest.mark.parametrize("uri", [f"data:;base64,{BASE64}", "data:," + "a" * 256])
def test_too_much_content_is_refused(uri: str) -> None:
    with pytest.raises(MediaTooLarge):
        read_data_uri(uri, limit_bytes=200)
