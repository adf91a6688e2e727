"""Every stored case goes through the ordinary path and is answered as LLaVA's own code did."""

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
import torch

from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.config import MediaConfig
from llava_serve.engines.torch.attention import AttentionSegment
from llava_serve.engines.torch.budget import EngineBudget
from llava_serve.engines.torch.engine import TorchEngine
from llava_serve.engines.torch.model_runner import ModelRunner
from llava_serve.engines.torch.output import Detokenizer
from llava_serve.engines.torch.prompt_tokenizer import PromptTokenizer
from llava_serve.media.reader import MediaReader
from llava_serve.request import (
    GenerateRequest,
    Image,
    InspectRequest,
    ReadyPrompt,
    SamplingParams,
)
from llava_serve.worker.app import build_app
from llava_serve.worker.gate import Gate
from llava_serve.worker.worker import ModelWorker
from tests.checkpoints.encoded import ids_of, merged, text_of
from tests.checkpoints.golden_cases import ALL, GOLDEN, LONG, NEW_TOKENS, PROMPTS, Golden

TOLERANCE = 1e-3
SHORT = [golden for golden in ALL if golden.length <= LONG]
GROUPS = sorted({(golden.case, golden.checkpoint, golden.aspect or "") for golden in ALL})
BUDGET = EngineBudget(slots=8, kv_tokens=60_000, feature_bytes=10**8, prefill_budget=64)


@pytest.mark.parametrize("golden", PROMPTS)
def test_logits_and_greedy_tokens_are_the_reference_s(golden: Golden) -> None:
    loaded = golden.load()
    prompt = merged(loaded, golden.items)
    length = len(prompt.tokens)
    assert length == golden.length
    runner = ModelRunner(loaded.model, kv_tokens=length + NEW_TOKENS)
    logits = runner.forward(prompt.embeddings, [AttentionSegment(0, length, 0, 0)])
    torch.testing.assert_close(logits[0], golden.logits, atol=TOLERANCE, rtol=0)
    tokens = [int(logits.argmax())]
    while len(tokens) < NEW_TOKENS:
        past = length + len(tokens) - 1
        logits = runner.forward(runner.embed(tokens[-1:]), [AttentionSegment(0, 1, 0, past)])
        tokens.append(int(logits.argmax()))
    assert tokens == golden.greedy


@pytest.mark.parametrize("golden", [each for each in ALL if each.text is not None], ids=str)
def test_a_conversation_becomes_the_reference_s_tokens(golden: Golden) -> None:
    loaded = golden.load()
    assert loaded.format.name == golden.template
    items = PromptTokenizer(loaded).tokenize(golden.conversation)
    assert ids_of(items) == golden.expected("input_ids").tolist()


@pytest.mark.parametrize("golden", [each for each in ALL if each.text is not None], ids=str)
def test_a_ready_prompt_becomes_the_reference_s_tokens(golden: Golden) -> None:
    images = tuple(item for item in golden.media if isinstance(item, Image))
    if golden.is_video or golden.text is None:  # the old wire knows no video
        images = (Image(golden.conversation.messages[0].videos[0].frames[0].image, "frame"),)
    items = PromptTokenizer(golden.load()).tokenize(ReadyPrompt(golden.text or "", images))
    assert ids_of(items) == golden.expected("input_ids").tolist()


@pytest.mark.parametrize("group", GROUPS, ids=str)
async def test_all_prompts_at_once_are_answered_like_each_alone(
    group: tuple[str, str, str],
) -> None:
    batch = [
        golden
        for golden in SHORT
        if (golden.case, golden.checkpoint, golden.aspect or "") == group and golden.text
    ]
    if not batch:  # only ids are known of this group's one prompt
        return
    loaded = batch[0].load()
    engine = TorchEngine(loaded, BUDGET)
    try:
        together = await asyncio.gather(*(text_of(engine.stream(ask(each))) for each in batch))
        alone = [await text_of(engine.stream(ask(each))) for each in batch]
    finally:
        engine.close()
    expected = [shown(loaded, golden.greedy) for golden in batch]
    assert together == expected
    assert alone == expected


@pytest.mark.parametrize("group", GROUPS, ids=str)
async def test_an_inspection_counts_the_reference_s_tokens(group: tuple[str, str, str]) -> None:
    batch = [
        golden
        for golden in ALL
        if (golden.case, golden.checkpoint, golden.aspect or "") == group and golden.text
    ]
    if not batch:
        return
    engine = TorchEngine(batch[0].load(), BUDGET)
    try:
        told = [
            await engine.inspect(
                InspectRequest(conversation=golden.conversation, sampling=SamplingParams())
            )
            for golden in batch
        ]
    finally:
        engine.close()
    assert [each.prompt and each.prompt.tokens for each in told] == [each.length for each in batch]


def ask(golden: Golden) -> GenerateRequest:
    return GenerateRequest(
        request_id=str(golden),
        prompt=golden.conversation,
        sampling=SamplingParams(temperature=0, max_new_tokens=NEW_TOKENS, ignore_eos=True),
    )


def shown(loaded: LoadedModel, tokens: Sequence[int]) -> str:
    text = Detokenizer(loaded.tokenizer)
    return "".join(map(text.push, tokens)) + text.flush()


ASKED = {"A.wide", "A.multiturn", "B.two_images", "B.round_edge", "C.tall", "D.single_pad"}
ASKED |= {"E.lora.wide", "E.projector_only.wide"}


@pytest.mark.parametrize("golden", [each for each in ALL if str(each) in ASKED], ids=str)
async def test_the_worker_answers_as_the_reference_did(golden: Golden) -> None:
    loaded = golden.load()
    engine = TorchEngine(loaded, BUDGET)
    worker = ModelWorker(engine, Gate(2, 2), MediaReader(MediaConfig()), worker_id="this-one")
    app = build_app(worker, max_body_bytes=10**8)
    transport = httpx.ASGITransport(app)
    body = {
        "model": loaded.name,
        "messages": messages_of(golden),
        "temperature": 0,
        "max_tokens": NEW_TOKENS,
        "ignore_eos": True,
    }
    try:
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            answer = (await client.post("/v1/chat/completions", json=body)).json()
            told = (await client.post("/v1/inspect", json=body)).json()
    finally:
        engine.close()
    assert answer["choices"][0]["message"]["content"] == shown(loaded, golden.greedy)
    assert answer["usage"]["prompt_tokens"] == golden.length == told["prompt"]["tokens"]
    assert told["media"]
    assert all(each["cached"] for each in told["media"])


def messages_of(golden: Golden) -> list[dict[str, Any]]:
    files = iter(golden.images)
    messages = []
    for message in golden.conversation.messages:
        content: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
                continue
            data = base64.b64encode((GOLDEN / golden.case / next(files)).read_bytes()).decode()
            url = {"url": f"data:image/png;base64,{data}"}
            content.append({"type": "image_url", "image_url": url})
        messages.append({"role": message.role, "content": content})
    return messages
