"""What queued callers are told, in their own language: the ACD's announcer."""

from engine.call import Call
from ivr.prompts import PromptBook
from ivr.speech import position_clips
from ivr.step import LANGUAGE


class QueueAnnouncer:
    """`announcer(call, position, wait)` → clips to play. wait: seconds, < 0 when unknown."""

    def __init__(self, prompts: PromptBook, languages: tuple[str, ...]) -> None:
        self._prompts = prompts
        self._languages = languages

    def __call__(self, call: Call, position: int, wait: float) -> list[str]:
        chosen = call.attributes.get(LANGUAGE, "")
        languages = (chosen,) if chosen in self._languages else self._languages
        return self._prompts.paths(clip for language in languages for clip in position_clips(language, position, wait))
