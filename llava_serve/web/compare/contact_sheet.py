"""Contact sheet of a folder: one HTML page with small images and all answers, to keep or print."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from PIL import Image, ImageOps

from llava_serve.errors import StorageFailed
from llava_serve.media.damage import DAMAGE
from llava_serve.media.thumbnail import thumbnail_uri
from llava_serve.storage.media import MediaStore
from llava_serve.web import render
from llava_serve.web.compare.folder_run import FolderImage, FolderRun
from llava_serve.web.compare.same_input import described
from llava_serve.web.heavy_work import GoOn
from llava_serve.web.reply import State
from llava_serve.web.translations.error_text import error_text
from llava_serve.web.translations.language import current, translate

_LARGEST = 360  # pixels of the longer side
_UNSHOWN: tuple[type[Exception], ...] = (StorageFailed, *DAMAGE)
_NONE = "data:,"  # of an image that is here no longer
_PARAMETERS = ("temperature", "top_p", "seed")
_STATES: dict[State, str] = {
    "waiting": "folder.state.waiting",
    "running": "folder.state.running",
    "stopped": "folder.state.stopped",
    "failed": "folder.state.failed",
}
_FOLDERS = (Path(__file__).parent, Path(__file__).parent.parent)
_PAGE = Environment(loader=FileSystemLoader(_FOLDERS), autoescape=True).get_template(
    "contact_sheet.html"
)


def as_page(run: FolderRun, media: MediaStore, go_on: GoOn) -> str:
    """Write a folder as HTML without scripts, in the language of the request. It blocks."""

    def thumbnail(image: FolderImage) -> str:
        go_on()
        return _thumbnail(media, image)

    parameters = described(run.parameters.kept(), _PARAMETERS)
    return _PAGE.render(
        run=run,
        parameters=translate("page.comma").join(parameters),
        thumbnail=thumbnail,
        model_text=render.model_text,
        language=current.get().tag,
        translate=translate,
        states=_STATES,
        error_text=error_text,
    )


def _thumbnail(media: MediaStore, image: FolderImage) -> str:
    try:
        with Image.open(media.shown_path(image.filename)) as opened:
            return thumbnail_uri(ImageOps.exif_transpose(opened), _LARGEST)
    except _UNSHOWN:
        return _NONE
