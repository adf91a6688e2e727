"""Tool call parser: the text of one answer, as it comes, becomes what it says and what it calls.

What is out after some text depends on that text alone, not on how it was cut into deltas, so that a
worker can go on with the answer of another.
"""

import re
import secrets
import string
from collections.abc import Callable, Collection
from dataclasses import replace

from llava_serve.chat.called_function import CalledFunction
from llava_serve.chat.tool_calls import LLAMA, ToolCallFormat
from llava_serve.request import Delta, TokenLogprob
from llava_serve.tools import ToolCallDelta

_BETWEEN = re.compile(r"(?:[\s,;\[\]]|</?tool_call>)*")  # before a call, and behind one
_MARKS_BETWEEN = ("<tool_call>", "</tool_call>")
_LETTERS = string.ascii_letters + string.digits
_ID_LENGTH = 9  # all that Mistral's templates take


class ToolCallParser:
    """Reads one answer in the format of its model; `names` are those of the tools.

    What begins as a call and is none is text.
    """

    def __init__(self, call_format: ToolCallFormat, names: Collection[str]) -> None:
        self._mark = call_format.mark
        self._names = names
        self._is_bare = call_format.mark in ("", LLAMA)  # a call is the whole answer
        self._read: _Read = self._read_opening if self._is_bare else self._read_text
        self._text = ""  # what has come and was not read
        self._opening = ""  # what was read before a call, and is text if that is none
        self._call = CalledFunction()
        self._is_told = False
        self._num_calls = 0  # that are complete
        self._has_called = False
        self._said: list[str] = []
        self._calls: list[ToolCallDelta] = []
        self._logprobs: list[TokenLogprob] = []  # of what may yet be text

    def parse(self, delta: Delta) -> Delta:
        """Return the delta with what is certain to be text, and with calls in place of the rest."""
        self._said, self._calls = [], []
        self._text += delta.text
        self._logprobs += delta.logprobs
        while self._read(delta.finish_reason is not None):
            pass
        text = "".join(self._said)
        logprobs = tuple(self._logprobs) if text else ()
        if text or self._calls:
            self._logprobs = []
        reason = delta.finish_reason
        is_cut_off = self._read == self._read_call  # by a stop string, and its arguments are none
        calls = self._has_called and not is_cut_off
        return replace(
            delta,
            text=text,
            logprobs=logprobs,
            tool_calls=tuple(self._calls),
            finish_reason="tool_calls" if reason == "stop" and calls else reason,
        )

    # Each of these reads on at one place of an answer, and says whether another can go on.

    def _read_opening(self, is_last: bool) -> bool:
        """Read what a bare answer begins with: a call, or text up to its end."""
        begun = self._text.lstrip()
        if not is_last and begun in (LLAMA[:length] for length in range(len(LLAMA) + 1)):
            return False
        rest = begun.removeprefix(LLAMA).lstrip()
        is_call = rest.startswith("{")
        if is_call:
            self._opening, self._text = self._text[: len(self._text) - len(rest)], rest
        self._read = self._read_call if is_call else self._read_rest
        return True

    def _read_rest(self, _: bool) -> bool:
        self._said.append(self._text)
        self._text = ""
        return False

    def _read_text(self, is_last: bool) -> bool:
        """Read text up to the mark of a call; the space before that is no text."""
        text, mark, rest = self._text.partition(self._mark)
        if mark:
            said = text.rstrip()
            self._said.append(said)
            self._opening, self._text = text[len(said) :] + mark, rest
            self._read = self._read_between
            return True
        if not is_last:
            text = text[: len(text) - _begun(text, (self._mark,))].rstrip()
        self._said.append(text)
        self._text = self._text[len(text) :]
        return False

    def _read_between(self, is_last: bool) -> bool:
        """Read what stands before a call, between two and behind the last one."""
        between = _BETWEEN.match(self._text)
        end = between.end() if between else 0
        rest = self._text[end:]
        is_call = rest.startswith("{")
        is_begun = bool(rest) and _begun(rest, _MARKS_BETWEEN) == len(rest)
        if not is_last and (is_begun or not rest):
            return False
        if is_call:
            self._opening += self._text[:end]
            self._call, self._is_told, self._read = CalledFunction(), False, self._read_call
        else:
            if self._opening:  # of no call
                self._said.append(self._opening + self._text[:end])
            elif is_begun:  # the end of a call, where the answer was cut off
                rest = ""
            self._opening, self._read = "", self._behind_calls
        self._text = rest
        return bool(rest)

    def _read_call(self, is_last: bool) -> bool:
        call = self._call
        arguments, self._text = call.feed(self._text)
        is_known = call.name is not None and (not self._is_bare or call.name in self._names)
        if is_known:
            self._tell(call, arguments)
        if call.is_complete and is_known:
            self._num_calls += 1
            self._opening, self._read = "", self._read_between
            return True
        if not is_known and (call.is_complete or call.name is not None or is_last):
            self._said.append(self._opening + call.raw)
            self._opening, self._read = "", self._behind_calls
            return True
        return False

    @property
    def _behind_calls(self) -> "_Read":
        return self._read_rest if self._is_bare else self._read_text

    def _tell(self, call: CalledFunction, arguments: str) -> None:
        if not self._is_told:
            self._is_told = self._has_called = True
            call_id = "".join(secrets.choice(_LETTERS) for _ in range(_ID_LENGTH))
            self._calls.append(ToolCallDelta(self._num_calls, arguments, call_id, call.name))
        elif arguments:
            self._calls.append(ToolCallDelta(self._num_calls, arguments))


_Read = Callable[[bool], bool]


def _begun(text: str, marks: Collection[str]) -> int:
    """Return the length of the longest end of `text` that begins one of the marks."""
    for length in range(min(len(text), max(map(len, marks))), 0, -1):
        if any(mark.startswith(text[-length:]) for mark in marks):
            return length
    return 0
