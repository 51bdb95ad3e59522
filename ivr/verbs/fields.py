"""Kinds of options that several verbs share."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ivr.model import Use


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Prompts = Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
"""One prompt's name or a list of them."""
Timeout = Annotated[float, Field(gt=0, le=120)]
Tries = Annotated[int, Field(ge=1, le=10)]
AttributeName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,31}$")]


def prompt_uses(field: str, prompts: list[str]) -> list[Use]:
    """The prompts of one option, each at its own place in the list."""
    return [Use("prompt", name, (field, n)) for n, name in enumerate(prompts)]
