"""Training loop of one stage: schedule, log, checkpoints to resume from, a clean end on SIGTERM."""

import json
import logging
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from accelerate import Accelerator  # type: ignore[import-untyped]
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm  # type: ignore[import-untyped]

from scripts.tiny.batch import TrainingBatch
from scripts.tiny.optimizer import clip_gradients, set_rate, stable_then_decay

logger = logging.getLogger(__name__)

Figures = dict[str, float]
# Of a batch, given the share of the stage that is done.
Loss = Callable[[TrainingBatch, float], tuple[Tensor, Figures]]
_SMOOTHING = 0.98


@dataclass
class TrainingProgress:
    """Step, time and smoothed figures of a stage; `save_state` keeps them with the weights."""

    step: int = 0
    seconds: float = 0.0
    figures: Figures = field(default_factory=dict)

    def state_dict(self) -> dict[str, object]:
        return {"step": self.step, "seconds": self.seconds, "figures": self.figures}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)

    def note(self, figures: Figures) -> None:
        """Smooth the figures of a step into the running ones."""
        for name, value in figures.items():
            before = self.figures.get(name, value)
            self.figures[name] = _SMOOTHING * before + (1 - _SMOOTHING) * value

    def __str__(self) -> str:
        shown = " ".join(f"{name} {value:.3f}" for name, value in sorted(self.figures.items()))
        return f"step {self.step}, {self.seconds:.0f} s: {shown}"


@dataclass(frozen=True, kw_only=True)
class TrainingBudget:
    """The end of a stage: a number of steps or of minutes, whichever comes first."""

    steps: int
    minutes: float
    decay: float = 0.2

    def done(self, progress: TrainingProgress) -> float:
        """Return the share of the budget that is spent."""
        return max(progress.step / self.steps, progress.seconds / 60 / self.minutes)


class TrainingInterrupted(Exception):
    """SIGTERM or SIGINT came; the state is saved."""


class TrainingLoop:
    """Runs one stage and saves its state under a folder every `checkpoint_s` seconds."""

    def __init__(
        self,
        accelerator: Accelerator,
        optimizers: list[Optimizer],
        state: Path,
        checkpoint_s: float = 300.0,
    ) -> None:
        self.progress = TrainingProgress()
        self._accelerator = accelerator
        self._optimizers = optimizers
        self._state = state
        self._checkpoint_s = checkpoint_s
        self._stopped = False
        accelerator.register_for_checkpointing(self.progress)

    def resume(self) -> None:
        """Continue from the last checkpoint, if there is one."""
        if (self._state / "complete").exists():
            self._accelerator.load_state(str(self._state))
            logger.info("resumed: %s", self.progress)

    def run(
        self,
        batches: Iterable[TrainingBatch],
        loss: Loss,
        budget: TrainingBudget,
        on_checkpoint: Callable[[], None],
        until: float = 1.0,
    ) -> None:
        """Train until the budget, or this share of it, is spent.

        Raises:
            Interrupted: a signal ended it early; running again goes on from there.
        """
        previous = [signal.signal(s, self._stop) for s in (signal.SIGTERM, signal.SIGINT)]
        bar = tqdm(total=budget.steps, initial=self.progress.step, mininterval=10)
        saved = tick = time.monotonic()
        try:
            for batch in batches:
                done = budget.done(self.progress)
                if done >= until:
                    break
                self._step(batch.to(self._accelerator.device), loss, done, budget.decay)
                bar.update()
                now = time.monotonic()
                self.progress.seconds += now - tick
                tick = now
                if self.progress.step % 50 == 0:
                    logger.info("%s", self.progress)
                if self._stopped or now - saved > self._checkpoint_s:
                    self._save()
                    on_checkpoint()
                    saved = tick = time.monotonic()
                if self._stopped:
                    raise TrainingInterrupted
            self._save()
            on_checkpoint()
        finally:
            bar.close()
            for number, handler in zip((signal.SIGTERM, signal.SIGINT), previous, strict=True):
                signal.signal(number, handler)

    def _step(self, batch: TrainingBatch, loss: Loss, done: float, decay: float) -> None:
        set_rate(self._optimizers, stable_then_decay(done, decay=decay))
        total, figures = loss(batch, done)
        self._accelerator.backward(total)
        clip_gradients(self._optimizers)
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.progress.step += 1
        self.progress.note(figures)

    def _save(self) -> None:
        if not self._accelerator.is_main_process:
            return
        (self._state / "complete").unlink(missing_ok=True)
        self._accelerator.save_state(str(self._state), safe_serialization=False)
        (self._state / "complete").write_text(json.dumps(self.progress.state_dict()))

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._stopped = True
