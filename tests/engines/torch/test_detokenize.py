import random

import pytest
from transformers import PreTrainedTokenizerBase

from llava_serve.engines.torch.detokenize import Detokenizer, bytes_of

TEXTS = [
    "hello wo hello",
    " leading",
    "a  b   c",
    "日本語 ñ é",
    "👩‍👩‍👧 family 😀!",
    "line\n\nline",
    "x",
]


def deltas(tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> list[str]:
    stream = Detokenizer(tokenizer)
    return [*(stream.push(token) for token in tokens), stream.flush()]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_the_deltas_together_are_the_decoded_whole(
    tokenizers: dict[str, PreTrainedTokenizerBase], kind: str, text: str
) -> None:
    tokenizer = tokenizers[kind]
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    assert "".join(deltas(tokenizer, tokens)) == tokenizer.decode(tokens) == text


@pytest.mark.parametrize("cut", range(1, 12))
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_a_text_that_goes_on_has_no_seam(
    tokenizers: dict[str, PreTrainedTokenizerBase], kind: str, text: str, cut: int
) -> None:
    tokenizer = tokenizers[kind]
    tokens = tokenizer("said before: " + text, add_special_tokens=False).input_ids
    before = str(tokenizer.decode(tokens[:-cut]))
    if before.endswith("\ufffd"):
        pytest.skip("nobody can send half a character")
    stream = Detokenizer(tokenizer)
    stream.follow(tokens[:-cut])
    after = "".join([*map(stream.push, tokens[-cut:]), stream.flush()])
    assert before + after == "said before: " + text


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_special_tokens_and_pictures_before_a_text_that_goes_on_do_not_matter(
    tokenizers: dict[str, PreTrainedTokenizerBase], kind: str
) -> None:
    tokenizer = tokenizers[kind]
    said, new = (tokenizer(text, add_special_tokens=False).input_ids for text in ("he", "a hello"))
    stream = Detokenizer(tokenizer)
    stream.follow([-200, *tokenizer.all_special_ids, *said])
    shown = "".join([*map(stream.push, new), stream.flush()])
    assert shown == (" a hello" if kind == "pieces" else "a hello")


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_half_characters_wait(tokenizers: dict[str, PreTrainedTokenizerBase], kind: str) -> None:
    tokenizer = tokenizers[kind]
    tokens = tokenizer("a😀b", add_special_tokens=False).input_ids
    shown = [delta for delta in deltas(tokenizer, tokens) if delta]
    assert "".join(shown) == "a😀b"
    assert all("\ufffd" not in delta for delta in shown)
    assert len(shown) == 3


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize("seed", range(20))
def test_any_tokens_give_the_decoded_whole(
    tokenizers: dict[str, PreTrainedTokenizerBase], kind: str, seed: int
) -> None:
    """Tokens in any order, special ones among them: what a bad model may say.

    Bytes of the second kind are left out: its decoder takes back good characters when a bad byte
    follows them, which a stream cannot.
    """
    tokenizer = tokenizers[kind]
    vocabulary = [i for text, i in tokenizer.get_vocab().items() if not text.startswith("<0x")]
    tokens = random.Random(seed).choices(sorted(vocabulary), k=60)
    whole = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert "".join(deltas(tokenizer, tokens)) == whole


def test_an_unfinished_character_shows_at_the_end(
    tokenizers: dict[str, PreTrainedTokenizerBase],
) -> None:
    tokenizer = tokenizers["bytes"]
    tokens = tokenizer("a😀", add_special_tokens=False).input_ids[:-1]
    assert deltas(tokenizer, tokens)[-1] == "\ufffd"


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_the_bytes_of_the_tokens_are_those_of_the_text(
    tokenizers: dict[str, PreTrainedTokenizerBase], kind: str, text: str
) -> None:
    tokenizer = tokenizers[kind]
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    data = b"".join(bytes_of(tokenizer, token) for token in tokens)
    space = " " if kind == "pieces" else ""  # sentencepiece sets one before the first word
    assert data.decode() == space + text


def test_a_token_beyond_the_vocabulary_has_no_bytes(
    tokenizers: dict[str, PreTrainedTokenizerBase],
) -> None:
    assert bytes_of(tokenizers["bytes"], 10**6) == b""
