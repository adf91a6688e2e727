"""HTTP errors of a request: its route, headers, body and fields."""

from llava_serve.errors.base import BadRequest, Unavailable


class InvalidField(BadRequest):
    """A field has a value that cannot be served."""

    code = "invalid_field"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.param = field


class NotJson(InvalidField):
    """The body cannot be read as JSON."""

    remedy = "Send JSON in UTF-8, nested less than 200 deep, with numbers of at most 4,300 digits."

    def __init__(self, reason: str) -> None:
        super().__init__("body", f"is not JSON that can be read ({reason})")


class UnsupportedField(BadRequest):
    """This engine does not support the field."""

    code = "unsupported_field"
    remedy = "Leave the field out, or send its neutral value."
    user_remedy = "Put the parameter back to what it was, and send the question again."

    def __init__(self, field: str, detail: str = "is not supported") -> None:
        super().__init__(f"{field} {detail}")
        self.param = field


class MalformedHttp(BadRequest):
    """The bytes are no HTTP request."""

    code = "malformed_http"
    remedy = "Speak HTTP/1.1 (or 1.0) without TLS at this port."


class TlsExpected(BadRequest):
    """The request came without TLS to a port that takes nothing else."""

    code = "tls_expected"
    remedy = "Write https:// in place of http:// in the address."
    user_told = "this page takes encrypted connections only"
    user_remedy = "Open the page under the address that you were given for it."

    def __init__(self) -> None:
        super().__init__("this port speaks TLS, and the request came without")


class NoSuchRoute(BadRequest):
    """Nothing is served at that path, or not with that method."""

    code = "no_such_route"
    status = 404
    remedy = "Correct the path, the method or the port; GET /openapi.json lists what is served."
    user_told = "this page asked its server for something that is not there"
    user_remedy = "Reload the page."

    def __init__(self, method: str, path: str, status: int) -> None:
        super().__init__(f"{method} {path} is not served here")
        self.status = status


class HostRefused(BadRequest):
    """The request names a host that is not this server's."""

    code = "host_refused"
    remedy = (
        "Use an IP address or localhost, or start the process with this name in --allowed-hosts."
    )
    user_told = "this page is not known to its server under the address you opened"
    user_remedy = "Open the page under the address that you were given for it."

    def __init__(self, host: str) -> None:
        super().__init__(f"the host name {host!r} is not one of this server's")


class OriginRefused(BadRequest):
    """A web page of another host sent the request."""

    code = "origin_refused"
    status = 403
    remedy = (
        "If the page is to be let in, start the process with its origin in --cors-origin; where a "
        "proxy serves both under one name, with that name in --allowed-hosts."
    )
    user_told = "this page may not ask that server"

    def __init__(self, origin: str) -> None:
        super().__init__(f"a web page of {origin!r} may not ask this server")


class ContentTypeRefused(BadRequest):
    """The body is not declared as JSON."""

    code = "content_type_refused"
    status = 415
    remedy = "Send JSON, with the header Content-Type: application/json."
    user_told = "this page sent its server what that does not take"
    user_remedy = "Reload the page."

    def __init__(self, mime: str) -> None:
        super().__init__(f"the content type of the body must be JSON's, and is {mime}")


class ForInsiders(BadRequest):
    """The route is for this machine, or for holders of the cluster's token."""

    code = "for_insiders"
    status = 403
    remedy = (
        "Ask from the machine itself, or with the cluster's token as a bearer token; the flag "
        "--public-metrics opens it to everybody."
    )
    user_told = "this is not for everybody to see"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is for the server's own machine and its cluster")


class HeadersTooLarge(BadRequest):
    """The head of the request is beyond the limit."""

    code = "headers_too_large"
    status = 431
    remedy = "Send fewer or shorter headers; what is long belongs into the body."

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the head of the request is larger than {limit_bytes} bytes")


class HeadersTimeout(BadRequest):
    """The head of the request does not arrive in time."""

    code = "headers_timeout"
    status = 408
    remedy = "Send the whole head of a request at once, and connect only to send one."

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the head of the request did not arrive within {seconds:g} s")


class BodyTooLarge(BadRequest):
    """The request is beyond the limit."""

    code = "body_too_large"
    status = 413
    remedy = "Send fewer or smaller pictures; the limit is the flag --max-body-mb."
    user_remedy = "Attach fewer or smaller pictures, or begin a new conversation."

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the request is larger than {limit_bytes / 1e6:g} MB")


class BodyTimeout(BadRequest):
    """The body of the request does not arrive in time."""

    code = "body_timeout"
    status = 408
    remedy = "Send the body without long pauses; scale pictures down where the network is slow."
    user_told = "the network is too slow for what was sent"
    user_remedy = "Scale the pictures down, and try again."

    def __init__(self, received_bytes: int, seconds: float) -> None:
        super().__init__(
            f"the body of the request is late: after {seconds:.0f} s, {received_bytes} bytes of "
            "it have come"
        )


class TextTooLarge(BadRequest):
    """The request without its images and videos is beyond the limit."""

    code = "text_too_large"
    status = 413
    remedy = "Shorten the text; the limit is the flag --max-text-mb."
    user_remedy = "Shorten the question or the system prompt."

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the request has {size_bytes / 1e6:.1f} MB besides its pictures and videos; at most "
            f"{limit_bytes / 1e6:g} MB are accepted"
        )


class ReaderTooSlow(BadRequest):
    """The client reads far more slowly than the answer is generated."""

    code = "reader_too_slow"
    status = 408
    remedy = "Read the answer as it comes, or ask for less of it."

    def __init__(self) -> None:
        super().__init__("the answer was cut: its client reads it far more slowly than it is made")


class NoRoomForBody(Unavailable):
    """Other large requests take the memory for bodies."""

    code = "no_room_for_body"
    user_told = "too many pictures are being sent to this server at the moment"
    user_remedy = "Wait a few seconds, then try again."

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"the bodies that this process holds leave no room for one of {size_bytes / 1e6:.1f} MB"
        )


class TooManyConnections(Unavailable):
    """The process has no connection left."""

    code = "too_many_connections"
    remedy = "Close connections that are not needed, and try again in a moment."
    user_told = "more people use the page than it has room for"
    user_remedy = "Try again in a moment."

    def __init__(self) -> None:
        super().__init__("this process has as many connections as it can hold")
