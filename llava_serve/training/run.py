"""A run of training: its parts, in the order in which they are made, checked, trained and saved."""

import logging
import shlex
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from llava_serve.checkpoints import convert, huggingface
from llava_serve.checkpoints.hub import name_of
from llava_serve.checkpoints.original import load as original
from llava_serve.checkpoints.resolve import (
    HuggingFaceCheckpoint,
    OriginalCheckpoint,
    resolve,
)
from llava_serve.errors import BadRequest, CommandError
from llava_serve.media.limits import FileLimits
from llava_serve.model_config import MediaConfig
from llava_serve.training import kept_state
from llava_serve.training.check import DataReport, SampleMeter, check
from llava_serve.training.collator import BatchCollator
from llava_serve.training.dataset import TrainingDataset
from llava_serve.training.flags import TrainingFlags
from llava_serve.training.labels import AnswerLabeller
from llava_serve.training.media_files import MediaFiles
from llava_serve.training.memory_estimate import estimate
from llava_serve.training.mixture import Mixture, open_mixture
from llava_serve.training.sample import BrokenSample
from llava_serve.training.served_folder import ServedFolder
from llava_serve.training.starting_point import StartingPoint, open_start
from llava_serve.training.trained_parts import choose
from llava_serve.training.trainer import LlavaTrainer, MetricsLog, not_written

logger = logging.getLogger(__name__)

_SMALLER = (
    "Lower --per_device_train_batch_size and raise --gradient_accumulation_steps, give "
    "--gradient_checkpointing True, or train a LoRA."
)


def run(flags: TrainingFlags) -> None:
    """Train a model and write it; go on where an earlier run of the same command ended.

    Raises:
        ServeError: a flag, the model or the data are wrong, or a file cannot be written.
    """
    output = flags.output
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise CommandError(
            f"{output} cannot be written: {exc}", "Give another --output_dir."
        ) from exc
    begun = kept_state.last_checkpoint(output)
    kept_state.require_same_flags(output, flags.learning, is_begun=begun is not None)
    mixture = open_mixture(flags.data.data_path, flags.run.seed)
    set_seed(flags.run.seed)
    start = open_start(flags)
    if flags.mode == "finetune" and isinstance(start.checkpoint, OriginalCheckpoint):
        convert.adapt(start.loaded, start.checkpoint)
    data = _data(flags, start, mixture)
    trained = choose(start, flags)
    folder = ServedFolder(start, flags.mode, trained)
    _tell_memory(flags, start, data)
    trainer = LlavaTrainer(
        start.loaded,
        folder,
        bytearray(bool(data.mixture.sample(i).media) for i in range(len(data)))
        if flags.run.group_by_modality_length
        else bytearray(len(data)),
        model=trained,
        args=flags.run,
        train_dataset=data,
        data_collator=BatchCollator(start.loaded),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(MetricsLog(logger.info))
    try:
        _learn(flags, trainer, begun)
    except (BrokenSample, BadRequest) as exc:
        raise CommandError(
            f"a sample could be read before the training, and not in it: {exc}",
            "See to its files; the same command then goes on from the last checkpoint.",
        ) from exc
    except torch.OutOfMemoryError as exc:
        raise CommandError(
            f"the memory of {start.loaded.model.device} is full: {exc}", _SMALLER
        ) from exc
    _write_end(flags, trainer, folder)
    logger.info("serve it with: %s", _serving(flags, start))


def _learn(flags: TrainingFlags, trainer: LlavaTrainer, begun: Path | None) -> None:
    """Train what is left: the Trainer takes one step more where nothing is."""
    if begun is None:
        trainer.train()
    elif kept_state.is_finished(begun, flags.run.max_steps, flags.run.num_train_epochs):
        logger.info("%s is of the last step: nothing is left to train", begun)
        trainer.read(begun)
    else:
        logger.info("going on from %s", begun)
        trainer.train(resume_from_checkpoint=str(begun))


def _data(flags: TrainingFlags, start: StartingPoint, mixture: Mixture) -> TrainingDataset:
    """Check the samples and prepare those that are whole. Raises: CommandError."""
    limits, loaded = MediaConfig(), start.loaded
    images = Path(flags.data.image_folder)
    media = MediaFiles(
        images,
        Path(flags.data.video_folder or images),
        FileLimits(int(limits.max_image_mb * 1e6), int(limits.max_image_megapixels * 1e6)),
        flags.data.frames_upbound,
    )
    labeller = AnswerLabeller(loaded)
    longest = min(flags.run.model_max_length or loaded.context_length, loaded.context_length)
    report: DataReport = check(mixture, media, SampleMeter(loaded, labeller, longest))
    if not flags.data.skip_broken:
        report.require_whole()
    elif report.broken:
        logger.warning("%s", report)
    kept = mixture.without(report.broken)
    if not len(kept):
        raise CommandError(str(report), "Give a file with samples that can be trained on.")
    return TrainingDataset(loaded, kept, media, labeller, report.lengths)


def _tell_memory(flags: TrainingFlags, start: StartingPoint, data: TrainingDataset) -> None:
    needed = estimate(start.loaded.model, flags.run, max(data.lengths))
    logger.info(
        "%d samples of at most %d tokens; the training takes %s",
        *(len(data), max(data.lengths), needed),
    )
    if not needed.fits:
        logger.warning("this may not fit. %s", _SMALLER)


def _write_end(flags: TrainingFlags, trainer: LlavaTrainer, folder: ServedFolder) -> None:
    output = flags.output
    try:
        trainer.save_state()
        folder.write(output, is_last=True)
    except (OSError, SafetensorError, RuntimeError) as exc:
        raise not_written(output, exc) from exc


def _serving(flags: TrainingFlags, start: StartingPoint) -> str:
    """Return the command that serves what was written, with the template that was trained."""
    words = ["python", "-m", "llava_serve.model_worker", "--model-path", str(flags.output)]
    is_part = flags.mode == "lora" or (flags.mode == "pretrain" and start.settings)
    base = str(start.base) if is_part else None
    words += [] if base is None else ["--model-base", base]
    written, tokenizer = resolve(str(flags.output), base), start.loaded.tokenizer
    if isinstance(written, HuggingFaceCheckpoint):
        own = huggingface.format_of(written, huggingface.config_of(written), tokenizer, None)
    else:
        own = original.format_of(written, tokenizer, None, name_of(str(flags.output)))
    name = flags.model.version
    words += (
        ["--conv-mode", name] if name is not None and own.name != start.loaded.format.name else []
    )
    return shlex.join(words)
