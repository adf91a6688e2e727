"""Files that a browser is about to upload: judged by their first bytes, size and number."""

from pydantic import Base64Bytes, BaseModel, Field, NonNegativeInt

from llava_serve.config import MediaConfig
from llava_serve.errors import BodyTooLarge, ServeError, TooManyFiles
from llava_serve.storage.media import MediaStore
from llava_serve.web import render
from llava_serve.web.translations.language import translate

MOST_FILES = MediaConfig.max_images  # a worker takes as many, unless its operator says otherwise
_MOST_OFFERED = 1000
_MOST_CARDS = 3  # they stand above the box for questions and must leave it in sight


class OfferedFile(BaseModel):
    """What is known of a file before it is uploaded; `head` is its first bytes."""

    name: str = Field(max_length=1000)
    size_bytes: NonNegativeInt
    head: Base64Bytes = Field(max_length=8192)


class Offer(BaseModel):
    """Files chosen, dropped or pasted at once, for a question that has `attached` already."""

    files: list[OfferedFile] = Field(max_length=_MOST_OFFERED)
    attached: NonNegativeInt


class Verdict(BaseModel):
    """The places of the files that are refused, and why, as cards for the user."""

    refused: list[int]
    cards: str


def judge(offer: Offer, media: MediaStore, max_body_bytes: int) -> Verdict:
    """Refuse what a question with these files would be refused for, before anything is sent."""
    fine: list[OfferedFile] = []
    refused: list[int] = []
    told: list[ServeError] = []
    for place, file in enumerate(offer.files):
        try:
            media.check(file.head, file.name, file.size_bytes)
        except ServeError as exc:
            refused.append(place)
            told.append(exc)
        else:
            fine.append(file)
    of_all: ServeError | None = None
    if len(fine) + offer.attached > MOST_FILES:
        of_all = TooManyFiles(len(fine) + offer.attached, MOST_FILES)
    elif sum(file.size_bytes for file in fine) > max_body_bytes:
        of_all = BodyTooLarge(max_body_bytes)
    if of_all is not None:
        told.append(of_all)
        refused = list(range(len(offer.files)))
    cards = "".join(render.error_card(one) for one in told[:_MOST_CARDS])
    if len(told) > _MOST_CARDS:
        more = translate("attach.more_files", count=len(told) - _MOST_CARDS)
        cards += f'<p class="note">{more}</p>'
    return Verdict(refused=refused, cards=cards)
