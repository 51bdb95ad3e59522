"""Clips: every one that the site may need is there, and every file is as the media plane wants it."""

import wave
from pathlib import Path

from acd.feature_codes import PROMPTS, REFUSED
from app import sections
from app.crosscheck import Drafts, Flows
from ivr.prompts import SAMPLE_RATE, PromptBook, fault
from ivr.speech import vocabulary
from ivr.verbs.say import Say
from kernel.schema import Draft
from kernel.yamlsrc import Problem, YamlPath, did_you_mean, nearest

SHORT = 12
"""So many missing clips of a language are told one by one; more are summed up."""
CONVERT = "convert it: ffmpeg -i OLD.wav -ar 8000 -ac 1 -c:a pcm_s16le NEW.wav"
RENDER = "record it, or run 'callwright prompts render'"


def sound(drafts: Drafts, flows: Flows, root: Path) -> list[Problem]:
    """root: the site's folder, which messages do not repeat."""
    return _music(drafts, flows.prompts) + _languages(drafts, flows) + _files(flows.prompts, root)


def _music(drafts: Drafts, prompts: PromptBook) -> list[Problem]:
    wanted: list[tuple[str, Draft[sections.Callwright] | Draft[sections.Queues], YamlPath]] = []
    if drafts.main.model:
        wanted.append((drafts.main.model.music, drafts.main, ("music",)))
    for name, queue in drafts.queues.model.queues.items() if drafts.queues.model else ():
        wanted += [(queue.music, drafts.queues, ("queues", name, "music"))] if queue.music else []
    here = [clip for clip in prompts.clips if "/" not in clip]
    return [
        draft.source.problem(
            path,
            f"music '{music}' has no {prompts.folder.name}/{music}.wav in the flows' folder",
            did_you_mean(music, here) if nearest(music, here) else "put a WAV file there: 8000 Hz, mono, 16 bit",
        )
        for music, draft, path in wanted
        if draft.good(*path) and not prompts.has(music)
    ]


def _languages(drafts: Drafts, flows: Flows) -> list[Problem]:
    """What is spoken without a flow naming it: places and waits in a queue, values, replies to feature codes."""
    main, queues, agents = drafts.main, drafts.queues.model, drafts.agents.model
    says = any(isinstance(view.verb, Say) for draft in flows.drafts for view in draft.views)
    spoken = says or bool(queues and queues.queues)
    codes = (*PROMPTS.values(), REFUSED) if agents and agents.agents else ()
    problems = []
    for n, language in enumerate(main.model.languages if main.model else ()):
        path = ("languages", n)
        if not main.good(*path):
            continue
        if not flows.prompts.names(language):
            message = f"language '{language}' has no clips: no {flows.prompts.folder.name}/{language}/*.wav"
            spoken_here = {clip.split("/")[0] for clip in flows.prompts.clips if "/" in clip}
            problems.append(main.source.problem(path, message, did_you_mean(language, spoken_here)))
            continue
        needed = [(clip, "numbers and queues") for clip in (vocabulary(language) if spoken else ())]
        needed += [(f"{language}/{clip}", "feature codes") for clip in codes]
        problems += _missing(main, path, [(clip, why) for clip, why in needed if not flows.prompts.has(clip)])
    return problems


def _missing(main: Draft[sections.Callwright], path: YamlPath, clips: list[tuple[str, str]]) -> list[Problem]:
    if len(clips) <= SHORT:
        return [main.source.problem(path, f"no prompts/{clip}.wav, needed for {why}", RENDER) for clip, why in clips]
    names = ", ".join(clip for clip, _ in clips[:SHORT])
    message = f"{len(clips)} clips for numbers, queues and feature codes are missing: {names} …"
    return [main.source.problem(path, message, "run 'callwright prompts render'")]


def _files(prompts: PromptBook, root: Path) -> list[Problem]:
    folder = prompts.folder
    shown = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else str(folder)
    out = []
    for clip in sorted(prompts.clips):
        path = Path(prompts.path(clip))
        if what := fault(path):
            out.append(Problem(f"{shown}/{clip}.wav", 1, 1, what, CONVERT if " Hz" in what else RENDER))
        elif what := _length(path):
            out.append(Problem(f"{shown}/{clip}.wav", 1, 1, what, "copy or record it again"))
    return out


def _length(path: Path) -> str:
    """What is wrong with the length of a clip whose form is good, or ""."""
    with wave.open(str(path), "rb") as clip:
        frames = clip.getnframes()
    held = (path.stat().st_size - 44) // 2  # 44: the shortest header
    if held < frames:
        return f"is cut short: {held / SAMPLE_RATE:.1f} s of {frames / SAMPLE_RATE:.1f} s are there"
    if frames <= 60 * SAMPLE_RATE:
        return ""
    from engine.media.clips import MAX_SECONDS  # noqa: PLC0415  (loads numpy: only for what may be too long)

    seconds = frames / SAMPLE_RATE
    return f"is {seconds:.0f} s long; a clip has at most {MAX_SECONDS} s" if seconds > MAX_SECONDS else ""
