"""PyTorch engine: the event loop's side of it, and the thread that does all model work."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator
from typing import Any

from llava_serve.chat.tool_call_parser import ToolCallParser
from llava_serve.checkpoints.loaded import LoadedModel
from llava_serve.engines.base import EngineStatus
from llava_serve.engines.preprocessing import PreprocessingPool, batch_threads, prompt_threads
from llava_serve.engines.torch import failures
from llava_serve.engines.torch.budget import EngineBudget, warm_up
from llava_serve.engines.torch.engine_core import EngineCore
from llava_serve.engines.torch.fingerprint import fingerprint_of
from llava_serve.engines.torch.grammar import GrammarCompiler, GrammarMatcher
from llava_serve.engines.torch.kv_cache import KVAllocator
from llava_serve.engines.torch.model_runner import ModelRunner
from llava_serve.engines.torch.penalties import check_biases
from llava_serve.engines.torch.prompt import PromptProcessor
from llava_serve.engines.torch.prompt_inspection import PromptInspector
from llava_serve.engines.torch.scheduler import Scheduler
from llava_serve.engines.torch.sequence import DeltaQueue, Sequence
from llava_serve.engines.torch.tokenization import ClientTokenizer
from llava_serve.engines.torch.tool_grammar import constrains_tools, tools_of
from llava_serve.engines.torch.vision import ImageFeatureCache
from llava_serve.errors import EngineLost, ServeError, ShuttingDown
from llava_serve.protocol.inspection import Inspection
from llava_serve.protocol.tokenization import Detokenization, Tokenization
from llava_serve.request import (
    Delta,
    DetokenizeRequest,
    GenerateRequest,
    InspectRequest,
    TokenizeRequest,
)

logger = logging.getLogger(__name__)

_BEYOND_REPAIR = "the engine failed beyond repair; this worker must be restarted"


class SequenceQueue:
    """Sequences on their way to the engine thread, in order; once closed, none comes any more."""

    def __init__(self) -> None:
        self._arrived: list[Sequence] = []
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, sequence: Sequence) -> None:
        """Raises: ShuttingDown, once it is closed."""
        with self._changed:
            if self._is_closed:
                raise ShuttingDown
            self._arrived.append(sequence)
            self._changed.notify()

    def take(self, wait_s: float | None) -> list[Sequence] | None:
        """Return what arrived, after `wait_s` at most, or at least one; None: it is to end."""
        with self._changed:
            if wait_s is None or wait_s:
                self._changed.wait_for(lambda: self._arrived or self._is_closed, wait_s)
            arrived, self._arrived = self._arrived, []
            return None if self._is_closed and not arrived else arrived

    def close(self) -> None:
        """Let nothing in and wake the thread, which is to end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()


class TorchEngine:
    """Answers requests with one checkpoint in this process.

    All model work happens on one thread. `healthy` turns False for good when the device is lost
    or the thread fails: every request fails from then on, and the process should be restarted.
    """

    def __init__(self, loaded: LoadedModel, budget: EngineBudget) -> None:
        """Start the thread after one warm-up request, so that the first user does not pay for it.

        Raises:
            ServeError: the model cannot answer even that, as when memory is short.
        """
        self.slots = budget.slots
        self._loaded = loaded
        context = min(loaded.context_length, budget.kv_tokens)
        self.card = loaded.card.model_copy(update={"context_length": context})
        self.fingerprint = fingerprint_of(loaded)
        self.precision = loaded.precision
        self._features = ImageFeatureCache(loaded, budget.feature_bytes)
        embed: Any = loaded.model.get_input_embeddings()
        self._vocabulary: int = embed.num_embeddings
        processor = PromptProcessor(loaded, self._features, context)
        self._preprocessing = PreprocessingPool(processor.preprocess)
        self._preprocessing_batches = PreprocessingPool(processor.preprocess, batch_threads())
        self._compiling = PreprocessingPool(GrammarCompiler(loaded).compile)
        runner = ModelRunner(loaded.model, budget.kv_tokens)
        self._allocator = KVAllocator(budget.kv_tokens)
        inspector = PromptInspector(loaded, processor, self._allocator)
        threads = prompt_threads()  # for what generates nothing
        self._inspecting = PreprocessingPool(inspector.inspect, threads)
        tokenizer = ClientTokenizer(loaded, processor, inspector)
        self._tokenizing = PreprocessingPool(tokenizer.tokenize, threads)
        self._detokenizing = PreprocessingPool(tokenizer.detokenize, threads)
        self._queue = SequenceQueue()
        try:
            step = warm_up(loaded, processor, runner, budget.kv_tokens)
        except RuntimeError as exc:
            raise failures.translate(exc, loaded.model.device) from exc
        scheduler = Scheduler(
            budget.slots,
            budget.prefill_budget or step.tokens,
            budget.idle_prefill_budget,
            self._allocator,
        )
        self._core = EngineCore(processor, runner, scheduler, step.tiles)
        self._has_failed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """Whether the device and the engine thread are alive."""
        return not (self._has_failed or self._core.device_is_lost)

    async def stream(self, request: GenerateRequest) -> AsyncGenerator[Delta]:
        """Yield deltas; see `Engine.stream`."""
        self._check_health()
        deltas = await self._submit(request)
        parser = self._tool_call_parser(request)
        try:
            while True:
                delta = await deltas.next()
                yield parser.parse(delta) if parser else delta
                if delta.finish_reason is not None:
                    return
        finally:
            await deltas.cancel()

    def _check_health(self) -> None:
        if not self.healthy:
            raise EngineLost(_BEYOND_REPAIR)

    async def _submit(self, request: GenerateRequest) -> DeltaQueue:
        """Preprocess away from the engine thread, where answers would wait for it."""
        arrived_at = time.monotonic()
        check_biases(request.sampling, self._vocabulary)
        try:
            matcher = await self._matcher(request)
            pool = self._preprocessing_batches if request.is_batch else self._preprocessing
            preprocessed = await pool.run(request.prompt)
        except Exception as exc:
            raise failures.translate(exc, self._loaded.model.device) from exc
        deltas = DeltaQueue(asyncio.get_running_loop())
        self._queue.put(Sequence(request, preprocessed, deltas, arrived_at, matcher))
        return deltas

    async def _matcher(self, request: GenerateRequest) -> GrammarMatcher | None:
        asked = (request.sampling.json_schema, request.sampling.regex)
        if asked == (None, None) and not constrains_tools(request):
            return None
        return await self._compiling.run(request)

    def _tool_call_parser(self, request: GenerateRequest) -> ToolCallParser | None:
        call_format, tools = self._loaded.format.tool_calls, tools_of(request)
        if call_format is None or not tools:
            return None
        return ToolCallParser(call_format, {tool.name for tool in tools})

    async def inspect(self, request: InspectRequest) -> Inspection:
        """Tell what the request would become; see `Engine.inspect`."""
        self._check_health()
        try:
            return await self._inspecting.run(request)
        except Exception as exc:
            raise failures.translate(exc, self._loaded.model.device) from exc

    async def tokenize(self, request: TokenizeRequest) -> Tokenization:
        """Tell the tokens of a prompt; see `Engine.tokenize`."""
        self._check_health()
        try:
            return await self._tokenizing.run(request)
        except Exception as exc:
            raise failures.translate(exc, self._loaded.model.device) from exc

    async def detokenize(self, request: DetokenizeRequest) -> Detokenization:
        """Tell the text of tokens; see `Engine.detokenize`."""
        return await self._detokenizing.run(request)

    def status(self) -> EngineStatus:
        """Return what is held and cached right now; safe to call from any thread."""
        return EngineStatus(
            kv_tokens_total=self._allocator.total,
            kv_tokens_held=self._allocator.held,
            kv_tokens_cached=self._allocator.cached,
            feature_hits=self._features.hits,
            feature_misses=self._features.misses,
            feature_bytes=self._features.cached_bytes,
        )

    def close(self) -> None:
        """Stop the thread; streams that are open all the same end with `ShuttingDown`."""
        self._queue.close()
        self._thread.join()
        self._preprocessing.close()
        self._preprocessing_batches.close()
        for pool in (self._compiling, self._inspecting, self._tokenizing, self._detokenizing):
            pool.close()

    def _run(self) -> None:
        """Work until told to stop; whatever ends the thread ends every stream with it."""
        error: ServeError = ShuttingDown()
        try:
            while self._add_arrived(self._core.wait_s):
                self._core.step()
        except BaseException:
            self._has_failed = True
            logger.exception("the engine thread failed")
            error = EngineLost(_BEYOND_REPAIR)
        finally:
            self._queue.close()
            self._add_arrived(0.0)
            self._core.abort(error)

    def _add_arrived(self, wait_s: float | None) -> bool:
        """Add what arrived to the core; False when the thread is to end."""
        arrived = self._queue.take(wait_s)
        for sequence in arrived or []:
            self._core.add(sequence)
        return arrived is not None
