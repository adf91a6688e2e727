"""A link that cannot be opened is one line in the log, and the page is served all the same."""

import httpx
import pytest
from gradio import networking
from gradio.exceptions import ChecksumMismatchError

from llava_serve.web.public_link import PublicLink


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("incompatible platform"), "incompatible platform"),
        (httpx.ConnectError("no route"), "no route"),
        (ChecksumMismatchError(), "ChecksumMismatchError"),
    ],
    ids=["platform", "network", "checksum"],
)
async def test_the_reason_is_logged(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    reason: str,
) -> None:
    """The tunnel is Gradio's, and reaches the internet: only its failures are played here."""

    def failing(*_: object) -> str:
        raise error

    monkeypatch.setattr(networking, "setup_tunnel", failing)
    await PublicLink("127.0.0.1", 7860).announce()
    assert f"no public link: {reason}" in caplog.text
