"""Defaults < configuration file < `DF2REDIS_*` variables < flags → `Settings`.

Every refusal is one `ConfigError` line: which key, which value, where it came from, what is accepted. Values that may
hold a password are masked.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from df2redis_tui.endpoints import parse_source, parse_target, shown_path
from df2redis_tui.errors import ConfigError
from df2redis_tui.files import why_not_written
from df2redis_tui.masking import register_secret, register_url
from df2redis_tui.option_values import FilePath
from df2redis_tui.options import BY_ENV, BY_KEY, BY_NAME, CONFIG_ENV, ENV_PREFIX, OPTIONS, PASSWORD_ENV, Option
from df2redis_tui.settings import Endpoint, Secret, Settings, Tls, TuningSettings

_PASSWORD_FILE_LIMIT: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody set: parsed, with its layer (higher wins) and the place it came from, for people."""

    value: Any = dataclasses.field(repr=False)  # a URL holds its password
    layer: int  # 1 file, 2 environment, 3 flags
    origin: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings of a run, and what should be said about them once (never with a password)."""

    settings: Settings
    warnings: tuple[str, ...] = ()
    given: Mapping[str, Given] = dataclasses.field(default_factory=dict)  # by option name


def load(
    flags: Mapping[str, object], environ: Mapping[str, str], config: str | None = None, *, needs_source: bool = True
) -> Loaded:
    """Settings from everything the operator gave; `flags` by option name. Raises ConfigError."""
    given = collect(flags, environ, config)
    warnings: list[str] = []
    source = _endpoint("source", given, environ, warnings) if needs_source else Endpoint(())
    target = _endpoint("target", given, environ, warnings)
    shared = set(source.hosts) & set(target.hosts)
    if shared:
        raise ConfigError(f"source and target are the same server, {source.label}: nothing would be copied")
    _check_summary(given.get("summary"))
    plain = {BY_NAME[name].field: entry.value for name, entry in given.items()}
    top = {field: value for field, value in plain.items() if "." not in field and field not in {"source", "target"}}
    settings = Settings(source=source, target=target, tuning=tuning_of(given), **top)
    return Loaded(settings, tuple(warnings), given)


def collect(flags: Mapping[str, object], environ: Mapping[str, str], config: str | None = None) -> dict[str, Given]:
    """What was set, by option name, the highest layer winning. Raises ConfigError for an unknown key or a bad value."""
    given: dict[str, Given] = {}
    for name in PASSWORD_ENV.values():
        register_secret(Secret(environ.get(name, "")))
    path = config if config is not None else environ.get(CONFIG_ENV) or None
    if path is not None:
        origin = "--config" if config is not None else CONFIG_ENV
        given.update(_from_file(path, origin))
    given.update(_from_environment(environ))
    for name, raw in flags.items():
        option = BY_NAME[name]
        given[name] = Given(_parsed(option, option.flag, raw, "the command line"), 3, "the command line")
    return given


def tuning_of(given: Mapping[str, Given]) -> TuningSettings:
    """The tuning part alone, for commands that make their own endpoints."""
    fields = {BY_NAME[name].field: entry.value for name, entry in given.items()}
    return TuningSettings(**{f.partition(".")[2]: v for f, v in fields.items() if f.startswith("tuning.")})


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """ "; did you mean X?" for the known word most like this one (shown with `prefix`), "" when none is."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def _from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    special = {CONFIG_ENV, *PASSWORD_ENV.values()}
    given: dict[str, Given] = {}
    for variable, raw in environ.items():
        if not variable.startswith(ENV_PREFIX) or variable in special:
            continue
        option = BY_ENV.get(variable)
        if option is not None and not raw:
            continue  # container tools pass variables that nobody set as empty ones
        if option is None:
            names = [name.removeprefix(ENV_PREFIX) for name in (*BY_ENV, *special)]
            close = nearest(variable.removeprefix(ENV_PREFIX), names, ENV_PREFIX)
            raise ConfigError(f"the environment variable {variable} is not known{close}")
        given[option.name] = Given(_parsed(option, variable, raw, "the environment"), 2, "the environment")
    return given


def _from_file(path: str, origin: str) -> dict[str, Given]:
    # Imported here: most runs of --help, --version and small copies have no file.
    import tomli

    place = _path(path, f"the configuration file ({origin})")
    try:
        document = tomli.loads(place.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"the configuration file {shown_path(path)} ({origin}) can't be read: {error.strerror}"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"the configuration file {path} is not UTF-8 (byte {error.start:,})") from None
    except (tomli.TOMLDecodeError, RecursionError) as error:
        # Only the place is repeated: the parser may quote the line, and the line may hold a password.
        where = f", line {error.lineno}" if isinstance(error, tomli.TOMLDecodeError) and error.lineno else ""
        reason = error.msg if isinstance(error, tomli.TOMLDecodeError) and "'" not in error.msg else "malformed"
        raise ConfigError(f"the configuration file {path}{where} is not TOML: {reason}") from None
    given: dict[str, Given] = {}
    for section, table in document.items():
        if not isinstance(table, dict):
            named = nearest(section, [option.short_key for option in OPTIONS]).removesuffix("?")
            hint = f"; keys belong to a section{named.replace('; did you mean', ', such as')}"
            raise ConfigError(f"{path}: the key {section} stands outside of any section{hint}")
        known = {option.short_key for option in OPTIONS if option.section == section}
        if not known:
            raise ConfigError(
                f"{path}: the section [{section}] is not known{nearest(section, {o.section for o in OPTIONS})}"
            )
        for key, raw in table.items():
            option = BY_KEY.get(f"{section}.{key}")
            if option is None:
                hint = nearest(key, known) or _elsewhere(key)
                raise ConfigError(f"{path}: the key {key} in [{section}] is not known{hint}")
            given[option.name] = Given(_parsed(option, f"[{section}] {key}", raw, path), 1, path)
    return given


def _path(text: str, key: str) -> Path:
    register_url(text)
    try:
        return FilePath().parse(text)
    except ValueError as error:
        raise ConfigError(f"{key} can't be used: {str(error) or 'accepted is a path'}") from None


def _elsewhere(key: str) -> str:
    close = difflib.get_close_matches(key, [option.short_key for option in OPTIONS], n=1, cutoff=0.6)
    homes = [f"[{option.section}] {option.short_key}" for option in OPTIONS if close and option.short_key == close[0]]
    return f"; did you mean {homes[0]}?" if homes else ""


def _parsed(option: Option, key: str, raw: object, origin: str) -> object:
    for text in raw if isinstance(raw, list) else (raw,):
        register_url(text)
    try:
        return option.kind.parse(raw)
    except ValueError as error:
        reason = str(error) or f"accepted is {option.kind.accepts}"
        raise ConfigError(f"{key}: {option.kind.show(raw)} (from {origin}) can't be used: {reason}") from None


def _endpoint(side: str, given: Mapping[str, Given], environ: Mapping[str, str], warnings: list[str]) -> Endpoint:
    option = BY_NAME[side]
    url = given.get(side)
    if url is None:
        raise ConfigError(
            f"no {side} was given: use {option.flag} {option.example.strip(chr(34))}, {option.env}, "
            f"or url in [{side}] of a configuration file"
        )
    endpoint = parse_source(url.value) if side == "source" else parse_target(url.value)
    if endpoint.password is not None and url.layer == 3:
        warnings.append(
            f"the {side}'s password stands in the command line, where `ps` shows it to every user; "
            f"{option.flag}-password-file, {PASSWORD_ENV[side]} and the configuration file keep it private"
        )
    if endpoint.password is not None and url.layer == 1 and Path(url.origin).expanduser().stat().st_mode & 0o077:
        warnings.append(f"{url.origin} holds the {side}'s password and others may read it: chmod 600 {url.origin}")
    password = _password(side, endpoint, url, given.get(f"{side}-password-file"), environ)
    register_secret(endpoint.password)
    register_secret(password)
    if endpoint.username is not None and password is None:
        raise ConfigError(
            f"the {side}'s URL has a user but there is no password: write user:password@, or :password@ without a user"
        )
    tls = _tls(side, endpoint.tls, given, warnings)
    return dataclasses.replace(endpoint, password=password, tls=tls)


def _password(
    side: str, endpoint: Endpoint, url: Given, file: Given | None, environ: Mapping[str, str]
) -> Secret | None:
    """The password of the highest layer; two in one layer are an error, since only one can be meant."""
    candidates: list[tuple[int, str, Secret]] = []
    if endpoint.password is not None:
        candidates.append((url.layer, f"the {side}'s URL", endpoint.password))
    if file is not None:
        name = BY_NAME[f"{side}-password-file"]
        labels = {1: f"{name.short_key} in [{side}]", 2: name.env, 3: name.flag}
        candidates.append((file.layer, labels[file.layer], _read_password(file.value, labels[file.layer])))
    text = environ.get(PASSWORD_ENV[side])
    if text:
        candidates.append((2, PASSWORD_ENV[side], Secret(text)))
    if not candidates:
        return None
    top = max(layer for layer, _, _ in candidates)
    best = [(label, secret) for layer, label, secret in candidates if layer == top]
    if len(best) > 1:
        raise ConfigError(
            f"the {side}'s password is given twice, by {best[0][0]} and by {best[1][0]}: keep one of them"
        )
    return best[0][1]


def _read_password(path: Path, key: str) -> Secret:
    try:
        with path.open("rb") as file:
            raw = file.read(_PASSWORD_FILE_LIMIT + 1)
        text = raw.decode("utf-8")
    except OSError as error:
        # The path is not repeated: it may be the password itself, given where its file belongs.
        raise ConfigError(f"{key}: the password file named there can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{key}: the password file {path} is not UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigError(f"{key}: the password file {path} is empty")
    if len(raw) > _PASSWORD_FILE_LIMIT or "\n" in text:
        raise ConfigError(f"{key}: the password file {path} holds more than one line; a password is one")
    return Secret(text)


def _tls(side: str, tls: Tls | None, given: Mapping[str, Given], warnings: list[str]) -> Tls | None:
    parts: dict[str, Any] = {}
    for part in ("ca", "cert", "key", "verify", "server_name"):
        entry = given.get(f"{side}-{part.replace('_', '-')}")
        if entry is None:
            continue
        if tls is None:
            raise ConfigError(
                f"{side}-{part.replace('_', '-')} (from {entry.origin}) needs TLS, but the {side}'s URL is not one of "
                + ("dragonflys:// and rediss://" if side == "source" else "rediss://, valkeys:// and rediss+cluster://")
            )
        if isinstance(entry.value, Path):
            _check_readable(f"{side}-{part}", entry)
        parts[part] = entry.value
    if tls is None:
        return None
    if "key" in parts and "cert" not in parts:
        raise ConfigError(f"{side}-key was given without {side}-cert, the certificate it belongs to")
    if parts.get("verify") is False:
        warnings.append(f"the {side}'s TLS certificate is not checked: anyone in between can read and change the data")
    return Tls(**parts)


def _check_readable(key: str, entry: Given) -> None:
    try:
        with entry.value.open("rb"):
            pass
    except OSError as error:
        where = f"{shown_path(str(entry.value))} (from {entry.origin})"
        raise ConfigError(f"{key}: {where} can't be read: {error.strerror}") from None


def _check_summary(entry: Given | None) -> None:
    if entry is None:
        return
    problem = why_not_written(entry.value)
    if problem:
        raise ConfigError(f"summary: {entry.value} (from {entry.origin}) {problem}")
