"""Files that a browser is about to upload: judged by their first bytes, size and number."""

from dataclasses import dataclass

from pydantic import Base64Bytes, BaseModel, Field, NonNegativeInt

from llava_serve.config import MediaConfig
from llava_serve.errors import BodyTooLarge, ServeError, TooManyFiles
from llava_serve.storage.media import MediaStore
from llava_serve.web import render

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


@dataclass(frozen=True)
class Attaching:
    """The same rules as those by which a question is refused, told before anything is sent."""

    media: MediaStore
    max_body_bytes: int

    def judge(self, offer: Offer) -> Verdict:
        """Refuse what a question with these files would be refused for."""
        reasons = [self._reason(file) for file in offer.files]
        refused = {place for place, reason in enumerate(reasons) if reason is not None}
        fine = [place for place in range(len(reasons)) if place not in refused]
        told: list[ServeError] = [reason for reason in reasons if reason is not None]
        if len(fine) + offer.attached > MOST_FILES:
            told.append(TooManyFiles(len(fine) + offer.attached, MOST_FILES))
            refused.update(fine)
        elif sum(offer.files[place].size_bytes for place in fine) > self.max_body_bytes:
            told.append(BodyTooLarge(self.max_body_bytes))
            refused.update(fine)
        cards = "".join(render.error_card(one) for one in told[:_MOST_CARDS])
        if len(told) > _MOST_CARDS:
            cards += f'<p class="note">and {len(told) - _MOST_CARDS} more files</p>'
        return Verdict(refused=sorted(refused), cards=cards)

    def _reason(self, file: OfferedFile) -> ServeError | None:
        try:
            self.media.check(file.head, file.name, file.size_bytes)
        except ServeError as exc:
            return exc
        return None
