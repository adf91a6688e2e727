"""The body of a request that is passed on, held as long as a further worker may be given it."""

from fastapi import Request

from llava_serve.http.body import release_body


class HeldBody:
    """The bytes as they came, and the place that they take among all bodies."""

    def __init__(self, content: bytes, request: Request) -> None:
        self.content = content
        self._request = request

    def drop(self) -> None:
        """Forget the bytes, so that another large body may come in; harmless when repeated."""
        self.content = b""
        release_body(self._request)
