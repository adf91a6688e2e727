"""A conversation as it grows: pure; pictures stay in the turn they were given in."""

from dataclasses import dataclass, replace

from llava_serve.errors import CommandError
from llava_serve.protocol.openai import ChatMessage, ImagePart, TextPart, VideoPart

Media = ImagePart | VideoPart


@dataclass(frozen=True, slots=True)
class History:
    """Finished turns, and the media that go with the next question."""

    system: str | None = None
    turns: tuple[ChatMessage, ...] = ()  # user and assistant in alternation
    attached: tuple[Media, ...] = ()

    def with_media(self, part: Media) -> "History":
        return replace(self, attached=(*self.attached, part))

    def messages(self) -> list[ChatMessage]:
        """The finished turns, behind the system prompt if there is one."""
        system = [ChatMessage(role="system", content=self.system)] if self.system else []
        return [*system, *self.turns]

    def asking(self, question: str) -> list[ChatMessage]:
        """What is sent to have `question` answered."""
        return [*self.messages(), self._asked(question)]

    def answered(self, question: str, answer: str) -> "History":
        said = ChatMessage(role="assistant", content=answer)
        return replace(self, turns=(*self.turns, self._asked(question), said), attached=())

    def taken_back(self) -> tuple["History", str]:
        """Return what was before the last question, whose media wait for it again, and its text.

        Raises:
            CommandError: nothing was asked.
        """
        if not self.turns:
            raise CommandError("nothing was asked yet", "Write a question.")
        *turns, asked, _ = self.turns
        parts = asked.parts()
        media = tuple(part for part in parts if not isinstance(part, TextPart))
        text = "".join(part.text for part in parts if isinstance(part, TextPart))
        return replace(self, turns=tuple(turns), attached=(*media, *self.attached)), text

    def _asked(self, question: str) -> ChatMessage:
        text = TextPart(type="text", text=question)
        return ChatMessage(role="user", content=[*self.attached, text])
