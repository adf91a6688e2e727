"""Route of PDFs: a PDF comes in, images of its pages go out, and nothing is kept."""

import asyncio
import secrets
import tempfile
from pathlib import Path

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import JSONResponse

from llava_serve import logs
from llava_serve.errors import ServeError, TooManyFiles
from llava_serve.http.disconnect import unless_client_leaves
from llava_serve.storage import filetypes
from llava_serve.storage.filenames import last_part
from llava_serve.web.attaching import MOST_FILES
from llava_serve.web.conversation_routes import ForUsers
from llava_serve.web.pdf.renderer import PdfLimits, PdfPages, PdfRenderer
from llava_serve.web.render import error_card


class _WithCard(ForUsers):
    @staticmethod
    def told(error: ServeError) -> JSONResponse:
        """Answer with the card that the page shows."""
        card = error_card(error, logs.request_id.get())
        return JSONResponse({"card": card}, error.status, error.headers)


def pdf_router(limits: PdfLimits | None = None) -> APIRouter:
    """Return the route, to which as many pages are taken as still fit one question."""
    router = APIRouter(prefix="/pdf", route_class=_WithCard)
    renderer = PdfRenderer(limits or PdfLimits())

    @router.post("/pages")
    async def pages(
        request: Request,
        name: str = Query(max_length=1000),
        attached: int = Query(ge=0, le=1000),
    ) -> Response:
        """Answer with a form: `total`, and a `page` for each page that was taken."""
        if attached >= MOST_FILES:
            raise TooManyFiles(attached + 1, MOST_FILES)
        with tempfile.TemporaryDirectory(prefix="pdf-") as folder:
            path = Path(folder) / "document.pdf"
            with await asyncio.to_thread(path.open, "wb") as file:
                async for chunk in request.stream():
                    await asyncio.to_thread(file.write, chunk)
            called = last_part(name, otherwise=path.name)
            rendering = renderer.render(path, called, MOST_FILES - attached, request.scope)
            rendered = await unless_client_leaves(rendering, request.receive)
            if rendered is None:
                return Response(status_code=204)
            return await asyncio.to_thread(_form, rendered)

    return router


def _form(rendered: PdfPages) -> Response:
    boundary = secrets.token_hex()
    parts = [_part(boundary, 'name="total"', "text/plain", str(rendered.total).encode())]
    for image in rendered.images:
        named = f'name="page"; filename="page {image.name}"'
        mime = filetypes.BY_EXTENSION[image.suffix[1:]].mime
        parts.append(_part(boundary, named, mime, image.read_bytes()))
    content = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(content, 200, headers, f"multipart/form-data; boundary={boundary}")


def _part(boundary: str, named: str, mime: str, content: bytes) -> bytes:
    head = (
        f"--{boundary}\r\nContent-Disposition: form-data; {named}\r\nContent-Type: {mime}\r\n\r\n"
    )
    return head.encode() + content + b"\r\n"
