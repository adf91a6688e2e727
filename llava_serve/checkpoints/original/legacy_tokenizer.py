"""Legacy Llama tokenizer: token ids of a tokenizer.model as LLaVA's own code gets them.

They come from sentencepiece itself. Transformers 5 ignores the file's own settings, and makes other
tokens than in training of a text that begins with a space, or of marks of turns in it.

Source: huggingface/transformers@v4.37.2, models/llama/tokenization_llama.py::LlamaTokenizer and
tokenization_utils.py::PreTrainedTokenizer.tokenize.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2, sentencepiece_pb2
from transformers import PreTrainedTokenizerBase

from llava_serve.checkpoints.placed_tokens import PlacedTokens
from llava_serve.checkpoints.settings import SettingsFile, TokenizerConfig, read
from llava_serve.errors import CheckpointError

_SPACE = "\u2581"
# Source: google/sentencepiece, sentencepiece_model.proto, SentencePiece.Type.
_FOUND_IN_TEXT = (1, 4)  # NORMAL, USER_DEFINED
_UNUSED = 5
_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")
# What LlamaTokenizer takes where no file names them.
_DEFAULTS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
# Names of it, one of them of the first published conversions of Llama.
_CLASSES = (None, "LlamaTokenizer", "LlamaTokenizerFast", "LLaMATokenizer")


@dataclass(frozen=True, slots=True)
class LegacyLlamaTokenizer:
    """Encodes texts: `template_text` those of templates, `user_text` those of people.

    The latter knows no special tokens. `added_tokens` are looked for before sentencepiece sees a
    text, and `special` are the ids of those that the tokenizer's files call special. `legacy`
    tokenizers put a space before each text between such tokens, others only before the prompt.
    `unknown` is a text that stands for the unknown token.
    """

    template_text: SentencePieceProcessor
    user_text: SentencePieceProcessor
    added_tokens: Mapping[str, int]
    special: frozenset[int]
    legacy: bool
    unknown: str

    def encode(self, text: str, *, is_user_text: bool) -> list[int]:
        """Return the ids of a text; in a user's no token counts as special."""
        return self.tokens(text, is_user_text=is_user_text, with_places=False).ids

    def tokens(self, text: str, *, is_user_text: bool, with_places: bool) -> PlacedTokens:
        """Return the tokens of a text, with their places if asked; else as `encode`."""
        tokens = PlacedTokens()
        if not text:
            return tokens
        processor = self.user_text if is_user_text else self.template_text
        start = 0
        if not self.legacy:
            text, start = _SPACE + text.replace(_SPACE, " "), -1
        for i, part in enumerate([text] if is_user_text else self._parts(text)):
            if i % 2:
                place = [(0, len(part))] if with_places else []
                tokens.add(PlacedTokens([self.added_tokens[part]], place), start)
            elif part:
                tokens.add(self._read(processor, part, with_places), start)
            start += len(part)
        ids = tokens.ids
        begins_with_special = len(ids) > 1 and ids[1] in self.special
        if not self.legacy and begins_with_special and ids[0] == processor.piece_to_id(_SPACE):
            return PlacedTokens(ids[1:], tokens.places[1:])
        return tokens

    def _parts(self, text: str) -> list[str]:
        """Cut a text at the tokens that are looked for first; every second part is one."""
        if not self.added_tokens:
            return [text]
        longest_first = sorted(self.added_tokens, key=len, reverse=True)
        return re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text)

    def _read(
        self, processor: SentencePieceProcessor, text: str, with_places: bool
    ) -> PlacedTokens:
        if self.legacy or not text.startswith((_SPACE, " ")):
            return _tokens(processor, text, with_places)
        # Sentencepiece takes spaces from the beginning, so something has to stand there.
        whole = _tokens(processor, self.unknown + text, with_places)
        before = len(processor.encode(self.unknown))
        tokens = PlacedTokens()
        own = PlacedTokens(whole.ids[before:], whole.places[before:])
        tokens.add(own, -len(self.unknown))
        return tokens


def _tokens(processor: SentencePieceProcessor, text: str, with_places: bool) -> PlacedTokens:
    if not with_places:
        return PlacedTokens(list(processor.encode(text)))
    schema: Any = sentencepiece_pb2
    found = schema.SentencePieceText.FromString(processor.encode(text, out_type="serialized_proto"))
    tokens, start = PlacedTokens(), 0
    for piece in found.pieces:
        end = start + len(piece.surface)  # its own numbers count bytes
        tokens.ids.append(piece.id)
        tokens.places.append((start, end))
        start = end
    return tokens


def model_file(folder: Path, *, is_fast: bool = False) -> Path | None:
    """Return the tokenizer.model that LLaVA's code reads, or None where it reads another file.

    `is_fast` stands for LlamaTokenizerFast, which preferred a tokenizer.json.

    Raises:
        CheckpointError: sentencepiece cannot read it.
    """
    path = folder / "tokenizer.model"
    if not path.exists() or _config(folder).tokenizer_class not in _CLASSES:
        return None
    if is_fast and (folder / "tokenizer.json").exists():
        return None
    try:
        SentencePieceProcessor().LoadFromSerializedProto(path.read_bytes())
    except RuntimeError as exc:
        raise CheckpointError(
            f"{path} cannot be read by sentencepiece: {str(exc).strip()}. Download it again; where "
            "the model was trained with a tokenizer.json beside it, delete it."
        ) from exc
    return path


def legacy_tokenizer_of(
    path: Path, tokenizer: PreTrainedTokenizerBase, *, is_fast: bool = False
) -> LegacyLlamaTokenizer:
    """Return what reads texts with the tokenizer.model `path`.

    `tokenizer` is transformers' of the same folder, with what was added to it. `is_fast` stands for
    LlamaTokenizerFast, which was legacy whatever its settings said.
    """
    config = _config(path.parent)
    extra, added = (
        read(SettingsFile, path.with_name(name)).raw
        for name in ("special_tokens_map.json", "added_tokens.json")
    )
    listed = {token.content for token in (config.added_tokens_decoder or {}).values()}
    special = {*_special(_DEFAULTS | extra | config.raw), *_special(extra)}
    by_name = {token.content: i for i, token in tokenizer.added_tokens_decoder.items()}
    marks = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    legacy = is_fast or config.legacy in (None, True)
    template_text, user_text = _processors(path, marks, has_prefix=legacy)
    late = {name for name, i in by_name.items() if i >= template_text.get_piece_size()}
    whole = {*listed, *special, *added, *late} & {*by_name}
    special |= late - listed - {*added}
    return LegacyLlamaTokenizer(
        template_text,
        user_text,
        {name: by_name[name] for name in whole},
        frozenset(by_name[name] for name in special & whole),
        legacy,
        str(tokenizer.unk_token),
    )


def _config(folder: Path) -> TokenizerConfig:
    return read(TokenizerConfig, folder / "tokenizer_config.json")


def _processors(
    path: Path, marks: Collection[str], *, has_prefix: bool
) -> tuple[SentencePieceProcessor, SentencePieceProcessor]:
    """Return one that knows all pieces, and one that knows no marks."""
    schema: Any = sentencepiece_model_pb2
    proto = schema.ModelProto.FromString(path.read_bytes())
    proto.normalizer_spec.add_dummy_prefix &= has_prefix
    template_text = SentencePieceProcessor(model_proto=proto.SerializeToString())
    for piece in proto.pieces:
        if piece.piece in marks and piece.type in _FOUND_IN_TEXT:
            piece.type = _UNUSED
    return template_text, SentencePieceProcessor(model_proto=proto.SerializeToString())


def _special(settings: Mapping[str, Any]) -> Iterator[str]:
    """Name the special tokens of a settings file, each of which is text or an object with it."""
    for each in [
        *map(settings.get, _NAMED),
        *(settings.get("additional_special_tokens") or []),
    ]:
        if isinstance(each, dict):
            each = each.get("content")
        if isinstance(each, str) and each:
            yield each
