"""The site's certificates: what is wrong with them, said at their line of the configuration, and where they are."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from app import sections
from engine.transport.tls import KeyPair, TlsSettings, load_pair
from kernel.schema import Draft
from kernel.yamlsrc import Problem, Source, YamlPath

SECURE = frozenset({"tls", "wss"})
_AT: YamlPath = ("sip", "tls")


def tls_settings(sip: sections.Sip, root: Path) -> TlsSettings:
    """With absolute paths. Without `sip.tls` there is no certificate of our own, and the system says whom to trust."""
    tls = sip.tls
    if tls is None:
        return TlsSettings()
    return TlsSettings(
        own=_pair(tls, root),
        names={name.lower(): _pair(pair, root) for name, pair in tls.names.items()},
        client_ca=_path(tls.client_ca, root),
        require_client_certificate=tls.require_client_certificate,
        server_ca=_path(tls.server_ca, root),
    )


def tls_problems(main: Draft[sections.Callwright], root: Path) -> list[Problem]:
    """Listeners without a certificate; files that are not there, are not what they should be, or do not fit."""
    source = main.source
    if main.model is None or not main.sound("sip", "tls"):
        return []
    tls = main.model.sip.tls
    if tls is None:
        return [
            source.problem(
                ("sip", "listen", n),
                f"'{listen.transport}' needs a certificate, and there is no 'sip.tls'",
                "sip: {tls: {certificate: tls/chain.pem, key: tls/key.pem}}",
            )
            for n, listen in enumerate(main.model.sip.listen)
            if listen.transport in SECURE and main.sound("sip", "listen", n)
        ]
    problems = list(_pair_problems(tls, root, source, _AT))
    for name, pair in tls.names.items():
        problems += _pair_problems(pair, root, source, (*_AT, "names", name))
    for key, text in (("client_ca", tls.client_ca), ("server_ca", tls.server_ca)):
        if text:
            problems += _authority_problems(root / text, text, source, (*_AT, key))
    return problems


def _pair(pair: sections.KeyFiles, root: Path) -> KeyPair:
    return KeyPair((root / pair.certificate).absolute(), (root / pair.key).absolute())


def _path(text: str, root: Path) -> Path | None:
    return (root / text).absolute() if text else None


def _pair_problems(pair: sections.KeyFiles, root: Path, source: Source, at: YamlPath) -> Iterator[Problem]:
    missing = False
    for key, text in (("certificate", pair.certificate), ("key", pair.key)):
        reason = _unreadable(root / text)
        if reason:
            missing = True
            yield source.problem((*at, key), f"{key} '{text}': {reason}")
    if missing:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if not _loads(lambda: context.load_verify_locations(str(root / pair.certificate))):
        yield source.problem((*at, "certificate"), f"certificate '{pair.certificate}' holds no certificate in PEM")
    elif fault := _fault(lambda: load_pair(context, _pair(pair, root))):
        mismatch = "MISMATCH" in fault
        why = f"does not belong to certificate '{pair.certificate}'" if mismatch else "holds no key in PEM that is open"
        hint = "" if mismatch else "a key with a password can't be read by a server: take the password off"
        yield source.problem((*at, "key"), f"key '{pair.key}' {why}", hint)


def _authority_problems(path: Path, text: str, source: Source, at: YamlPath) -> Iterator[Problem]:
    reason = _unreadable(path)
    if reason:
        yield source.problem(at, f"{at[-1]} '{text}': {reason}")
    elif not _loads(lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(str(path))):
        yield source.problem(at, f"{at[-1]} '{text}' holds no certificate in PEM")


def _unreadable(path: Path) -> str:
    """Why a file cannot be read, "" when it can."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _loads(load: Callable[[], object]) -> bool:
    return not _fault(load)


def _fault(load: Callable[[], object]) -> str:
    try:
        load()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        return str(error) or type(error).__name__
    return ""
