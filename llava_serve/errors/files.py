"""Errors of uploaded files: not kept here, or no room for more."""

from llava_serve.errors.base import BadRequest


class FileUnknown(BadRequest):
    """No file is kept under this id for whoever asks."""

    code = "file_not_found"
    status = 404
    remedy = "Upload it with POST /v1/files, or send the picture itself; GET /v1/files lists yours."
    user_told = "a picture of this question is not kept any more"
    user_remedy = "Attach the picture again, and send the question."

    def __init__(self, name: str, param: str = "") -> None:
        super().__init__(f"no file {name[:100]!r} is kept: it never was, is deleted, or expired")
        self.param = param or None


class FileQuotaSpent(BadRequest):
    """There is no room for another file."""

    code = "file_quota_exceeded"
    status = 413
    remedy = "Delete files with DELETE /v1/files/ID, wait until some expire, or ask the operator."
    user_told = "no more pictures can be kept"
    user_remedy = "Try again later, or ask whoever runs this page."

    def __init__(self, kept: str, limit: str) -> None:
        super().__init__(
            f"{kept} are kept already, and with this file it would be more than {limit}"
        )
