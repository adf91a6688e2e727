"""Folder run: every image of a folder, what each model has said of it, and what is new of that."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from llava_serve.storage.folder_tables import FolderRow
from llava_serve.storage.identity import Identity
from llava_serve.storage.tables import TurnRow
from llava_serve.web.parameters import Parameters
from llava_serve.web.persistence import reply_of
from llava_serve.web.reply import ReplyHandle, StreamedReply

Place = tuple[int, int]
"""An answer's image and model: the position of the one and the slot of the other."""


@dataclass(frozen=True, slots=True)
class FolderImage:
    """An image by the name that it is stored under, and by its user's."""

    filename: str
    name: str


@dataclass(eq=False)
class FolderRun:
    """What is known of a folder. A `mark` names a state of it: what changed since can be told."""

    id: str
    question: str
    models: list[str]
    parameters: Parameters
    images: list[FolderImage]
    answers: dict[Place, StreamedReply]
    whose: Identity
    is_running: bool = False
    running: ReplyHandle | None = None
    _epoch: str = field(default_factory=lambda: secrets.token_hex(4))
    _version: int = 0
    _changed: dict[Place, int] = field(default_factory=dict)

    @classmethod
    def of(cls, row: FolderRow) -> "FolderRun":
        """Return what a row keeps."""
        answers = {}
        for one in row.answers:
            model = row.models[one.slot]
            turn = TurnRow(text=one.text, model=model, details=one.details)
            answers[one.position, one.slot] = reply_of(turn)
        return cls(
            id=row.id,
            question=row.question,
            models=row.models,
            parameters=Parameters.restored(row.parameters),
            images=[FolderImage(f"{one.sha256}.{one.extension}", one.name) for one in row.images],
            answers=answers,
            whose=Identity(row.owner, row.browser),
        )

    @property
    def places(self) -> list[Place]:
        """Every answer's place, image by image."""
        slots = range(len(self.models))
        return [(position, slot) for position in range(len(self.images)) for slot in slots]

    def is_wanting(self, place: Place) -> bool:
        """Tell whether there is no whole answer, and none is being made."""
        reply = self.answers.get(place)
        return reply is None or reply.state in ("failed", "stopped")

    def touch(self, place: Place) -> None:
        """Say that there is something new of an answer."""
        self._version += 1
        self._changed[place] = self._version

    @property
    def mark(self) -> str:
        """The name of the state as it is."""
        return f"{self._epoch}.{self._version}"

    def changed_since(self, mark: str) -> Iterable[Place]:
        """Return the places of what is new since a mark; after a strange one all that is known."""
        epoch, _, version = mark.partition(".")
        if epoch != self._epoch or not version.isdecimal():
            return [*self.answers]
        return [place for place, at in self._changed.items() if at > int(version)]

    def counts(self) -> dict[str, int]:
        """Return how many answers there are to be, and how many are whole or failed."""
        states = [one.state for one in self.answers.values()]
        return {
            "total": len(self.places),
            "done": states.count("done"),
            "failed": states.count("failed"),
        }
