"""Request, messages, sampling parameters and deltas: what the wire, media and engines hand on."""

from dataclasses import dataclass, field, replace
from typing import Literal

import PIL.Image

from llava_serve.errors import MediaCountMismatch
from llava_serve.tools import Tool, ToolCall, ToolCallDelta, ToolChoice

IMAGE_PLACEHOLDER = "<image>"  # in a text, the place of a picture

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, slots=True)
class SentFile:
    """What an image or video was decoded from: its format and (width, height) as it was sent."""

    format: str
    size: tuple[int, int]
    upright_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Image:
    """An upright RGB picture.

    `sha256` is the hex digest of its size and pixels: equal pixels, equal digest. A frame of a
    video has the `time_s` since the first one, where the video has times. With `is_coarse` one tile
    of the whole picture is enough, however many the checkpoint would cut it into.
    """

    image: PIL.Image.Image
    sha256: str
    sent: SentFile | None = field(default=None, compare=False)
    time_s: float | None = field(default=None, compare=False)
    is_coarse: bool = False


@dataclass(frozen=True, slots=True)
class Video:
    """Frames of one video, in order, evenly spaced."""

    frames: tuple[Image, ...]
    sent: SentFile | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; its parts stand in the order the client gave them.

    One of the assistant may have calls behind its parts; one of a tool has the result of a call.
    """

    role: Role
    parts: tuple[str | Image | Video, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def texts(self) -> list[str]:
        return [part for part in self.parts if isinstance(part, str)]

    @property
    def media(self) -> list[Image | Video]:
        return [part for part in self.parts if not isinstance(part, str)]

    @property
    def images(self) -> list[Image]:
        return [part for part in self.parts if isinstance(part, Image)]

    @property
    def videos(self) -> list[Video]:
        return [part for part in self.parts if isinstance(part, Video)]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages of the native wire: the engine renders the prompt.

    With `continues` the last message is the assistant's, text alone, and the answer goes on with
    it: the prompt ends where that text ends, and the deltas hold only what is new. Stop strings
    count in what is new.
    """

    messages: tuple[Message, ...]
    continues: bool = False
    tools: tuple[Tool, ...] = ()

    @property
    def begun(self) -> str:
        """The text that the answer goes on with; empty where it begins anew."""
        return "".join(map(str, self.messages[-1].parts)) if self.continues else ""

    def continued(self) -> "Conversation":
        """Return the same to go on with; a last message without text is an answer not begun."""
        if any(self.messages[-1].parts):
            return replace(self, continues=True)
        return replace(self, messages=self.messages[:-1])


@dataclass(frozen=True, slots=True)
class ReadyPrompt:
    """A prompt as the client wrote it: one `<image>` in `text` for each picture (LLaVA's wire).

    Where it comes as `tokens`, these are all of it, and `text` is empty.
    With `continues` the deltas go on with `text`: a space before the first word is part of them.
    """

    text: str
    images: tuple[Image, ...] = ()
    continues: bool = False
    tokens: tuple[int, ...] = ()

    def chunks(self) -> list[str]:
        """Return the texts before, between and behind the images.

        Raises:
            MediaCountMismatch: images and placeholders differ in number.
        """
        chunks = self.text.split(IMAGE_PLACEHOLDER)
        if len(chunks) - 1 != len(self.images):
            raise MediaCountMismatch(len(self.images), len(chunks) - 1)
        return chunks


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How tokens are chosen and when the answer ends. Temperature 0 is greedy."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: no limit
    repetition_penalty: float = 1.0
    seed: int | None = None
    max_new_tokens: int | None = None  # None: what the context still holds
    min_new_tokens: int = 0  # no end token before
    ignore_eos: bool = False  # only `stop` and `max_new_tokens` end the answer
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None  # how many of the best to tell at each place; None: nothing
    tells_usage: bool = False  # each delta has the usage so far
    # What follows only engines do whose card says so in `supported_params`.
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()  # token, what is added to its logit
    min_p: float = 0.0  # of the most probable token's probability, the least that is chosen from
    json_schema: str | None = None  # the answer is JSON of this schema (itself JSON)
    regex: str | None = None  # the answer matches this
    tool_choice: ToolChoice = field(default_factory=ToolChoice)  # among the conversation's tools


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """A prompt to answer; `resumed` are tokens of its answer that another engine generated.

    The deltas then begin with the text of these, and go on as if the engine had generated all. The
    answers of a batch may stand back behind others.
    """

    request_id: str
    prompt: Conversation | ReadyPrompt
    sampling: SamplingParams
    resumed: tuple[int, ...] = ()
    is_batch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest:
    """A conversation to show as the model would see it, `with_pixels` with its tiles as images."""

    conversation: Conversation
    sampling: SamplingParams
    with_pixels: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeRequest:
    """A prompt to show as tokens.

    A ready one may be without the tokens that every prompt begins with.
    """

    prompt: Conversation | ReadyPrompt
    adds_special_tokens: bool = True
    with_strings: bool = False  # each token as the vocabulary writes it


@dataclass(frozen=True, slots=True)
class DetokenizeRequest:
    """Tokens to show as text; `field` is what an error calls them."""

    tokens: tuple[int, ...]
    field: str = "tokens"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request.

    `image_tokens` counts feature rows of pictures and frames, `cached_tokens` what of the prompt
    was read for an earlier request already.
    """

    prompt_tokens: int
    completion_tokens: int
    image_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Seconds that a request spent in each stage of an engine; `decode_s` after the first token."""

    queue_s: float
    vision_s: float
    prefill_s: float
    decode_s: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token and the natural logarithm of its probability, before temperature and penalties.

    `text` shows U+FFFD where `data` is only part of a character. `top` are the most probable ones
    at the same place, best first, themselves without `top`.
    """

    text: str
    data: bytes
    logprob: float
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """New text only; the last delta alone has the rest, and maybe no text.

    Where the conversation has tools, `text` is what the answer says beside `tool_calls`.

    `logprobs`, if asked for, are of the tokens whose text begins here; a token that a stop cut off
    or that ended the answer has none.

    `so_far` is the usage behind this delta, where the request asks for it.

    `tokens` were generated since the last delta, some maybe with no text in this one. They are told
    where the engine can go on with an answer. The text of a `is_replay` is that of tokens which
    the request brought.

    `stop` is the stop string that ended the answer; beyond the engine one of the request's alone.

    Of a request that asked for several answers, `index` says to which one it belongs, and only the
    last one to end has `usage`; of one with several prompts `prompt_index` says which one is meant.
    """

    text: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    stages: Stages | None = None  # None: the engine does not know
    index: int = 0
    prompt_index: int = 0
    so_far: Usage | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    tokens: tuple[int, ...] = ()
    is_replay: bool = False
    stop: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()
