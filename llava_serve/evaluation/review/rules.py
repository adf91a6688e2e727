"""Rules of a review: what the judge is told to do, by category of the question."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from llava_serve.errors import CommandError
from llava_serve.form_fault import first_fault

DEFAULT = "default"
_SYSTEM = "You are a fair and careful judge of answers that two assistants gave to one question."
_REMEDY = 'Give it the form {"CATEGORY": {"role": "Assistant", "prompt": "..."}}.'


class ReviewRule(BaseModel):
    """`role` is what the judge reads the answers' authors called; `system` opens the request."""

    model_config = ConfigDict(frozen=True)

    role: str = Field(min_length=1)
    prompt: str = Field(min_length=1)
    system: str = _SYSTEM


Rules = Mapping[str, ReviewRule]
_RULES = TypeAdapter(dict[str, ReviewRule])


def read_rules(path: Path | None) -> tuple[Rules, bytes]:
    """Return the rules of a file, by default those of this package, and the file's bytes.

    Source: format of haotian-liu/LLaVA@c121f04 llava/eval/table/rule.json.

    Raises:
        CommandError: the file cannot be read, or is no rule file.
    """
    try:
        content = _shipped() if path is None else path.read_bytes()
        return _RULES.validate_json(content), content
    except OSError as exc:
        raise CommandError(f"cannot read {path}: {exc.strerror}", "Correct --rules.") from exc
    except ValidationError as exc:
        raise CommandError(f"{path} is no rule file: {first_fault(exc)}", _REMEDY) from exc


def rule_of(rules: Rules, category: str) -> ReviewRule | None:
    """Return the rule of a category, or else the one called `default`."""
    return rules.get(category) or rules.get(DEFAULT)


def _shipped() -> bytes:
    return resources.files(__package__).joinpath("rules.json").read_bytes()
