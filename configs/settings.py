"""Typed settings: built-in TOML < own TOML < environment (``VULCAN_*``) < flags.

Reads files and environment once, at an entry point, and hands out one frozen value. It knows
nothing of models, hosts or jobs beyond their names, and no other module reads the environment.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

ROOT = Path(__file__).resolve().parents[1]
BUILT_IN = Path(__file__).with_name("vulcan.toml")
WORKFLOWS = Path(__file__).with_name("workflows")
ENV_PREFIX = "VULCAN_"
# Keys whose values are paths, resolved against the folder of the file that names them.
PATH_KEYS = (
    ("state",),
    ("folders", "inbox"),
    ("folders", "outbox"),
    ("folders", "models"),
    ("folders", "workflows"),
    ("folders", "wildcards"),
    ("model", "source"),
    ("host", "models"),
)
MICRO = "micro"  # as model.source: not a path, but the small Flux that comes with Vulcan


class ConfigError(Exception):
    """A setting that cannot be used.

    Attributes:
        source: the file or environment variable that holds it.
        key: dotted name of the setting, empty when the whole source is bad.
        why: what is wrong with it and what would be right.
    """

    def __init__(self, source: str, key: str, why: str) -> None:
        """Keep the parts; the sentence is built when it is shown."""
        super().__init__(source, key, why)
        self.source, self.key, self.why = source, key, why

    def __str__(self) -> str:
        where = f"{self.source}: {self.key}" if self.key else self.source
        return f"Bad setting in {where}: {self.why}"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Folders(_Section):
    """Where prompt files come in, pictures go out; where models, workflows, wildcards lie."""

    inbox: Path
    outbox: Path
    models: Path
    workflows: Path
    wildcards: Path


class ModelSettings(_Section):
    """Which Flux is quantised, to what, and its companions by the host's names."""

    source: str
    file_type: str
    text_encoders: tuple[str, str]
    vae: str


class LoraSettings(_Section):
    """The LoRA that prompts use by default."""

    file: str
    strength: Annotated[float, Field(ge=-10, le=10)]
    trigger: str
    allow_partial: bool


def _known_hosts(use: str | tuple[str, ...]) -> tuple[str, ...]:
    listed = use.split(",") if isinstance(use, str) else use
    hosts = tuple(dict.fromkeys(host.strip().rstrip("/") for host in listed if host.strip()))
    for host in hosts:
        if host not in ("auto", "embedded") and not host.startswith(("http://", "https://")):
            raise ValueError("expected auto, embedded or a URL such as http://127.0.0.1:8188")
    if not hosts or ("auto" in hosts and len(hosts) > 1):
        raise ValueError("expected auto alone, or a list of URLs (and embedded)")
    return hosts


class HostSettings(_Section):
    """Which host renders and how patient the bridge is; times in seconds."""

    use: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_known_hosts)]
    candidates: tuple[str, ...]
    models: Annotated[Path | None, BeforeValidator(lambda given: given or None)]
    connect_timeout: Annotated[float, Field(gt=0, le=60)]
    comeback: Annotated[float, Field(ge=0)]
    depth: Annotated[int, Field(ge=1, le=64)]
    grace: Annotated[float, Field(ge=0, le=600)]
    silence: Annotated[float, Field(gt=0, le=600)]
    move_after: Annotated[float, Field(ge=0)]
    stall_factor: Annotated[float, Field(ge=2)]
    stall_least: Annotated[float, Field(gt=0)]
    load: Annotated[float, Field(gt=0)]
    check_memory: bool
    vram_limit: Annotated[str, Field(pattern=r"^$|^[0-9]{1,3}(\.[0-9]+)? ?(GB|GiB)?$")]


class TrainingSettings(_Section):
    """Where LoRAs are trained and for how long at a time; hours."""

    place: Literal["local", "kaggle"]
    max_runtime: Annotated[float, Field(ge=0, le=1000)]
    kaggle_base: Annotated[str, Field(pattern=r"^$|^[A-Za-z0-9_-]+/[A-Za-z0-9_-]+$")]
    kaggle_endpoint: Annotated[str, Field(pattern=r"^$|^https?://")]


class Defaults(_Section):
    """What a prompt file need not say; 0 stands for "what suits the model"."""

    workflow: str
    width: Annotated[int, Field(ge=0)]
    height: Annotated[int, Field(ge=0)]
    steps: Annotated[int, Field(ge=0)]
    guidance: Annotated[float, Field(ge=0)]
    cfg: Annotated[float, Field(gt=0)]
    cfg_with_negative: Annotated[float, Field(gt=1)]


class Settings(BaseSettings):
    """Everything an entry point may want to know, frozen."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
    )

    state: Path
    pair: str
    keep_days: Annotated[float, Field(ge=0)]
    folders: Folders
    model: ModelSettings
    lora: LoraSettings
    host: HostSettings
    training: TrainingSettings
    defaults: Defaults

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic-settings' own hook
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load` has merged files below and flags above; only it calls us.
        return (init_settings,)


def load(
    own_file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Merge the sources, lowest first, and check the result.

    Args:
        own_file: the user's TOML file, if any.
        flags: nested values from the command line; ``None`` leaves are "not given".
        environ: the environment, ``os.environ`` unless a test says otherwise.

    Raises:
        ConfigError: unreadable file, unknown key, or a value out of range.
    """
    merged = _read_toml(BUILT_IN, base=ROOT)
    sources = [(_read_toml(own_file, base=own_file.parent), str(own_file))] if own_file else []
    sources.append((_from_environment(os.environ if environ is None else environ), "environment"))
    sources.append((_without_none(flags or {}), "command line"))
    for values, source in sources:
        _refuse_unknown(values, merged, source)
        merged = _merge(merged, values)
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise _first_problem(error, sources) from error


def _read_toml(path: Path, base: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"is not TOML: {error}") from error
    return _absolute(values, base.resolve())


def _absolute(values: dict[str, Any], base: Path) -> dict[str, Any]:
    for *sections, key in PATH_KEYS:
        table = values
        for section in sections:
            table = table.get(section, {})
        value = table.get(key) if isinstance(table, dict) else None
        if isinstance(value, str) and value not in ("", MICRO):
            table[key] = str(base / Path(value).expanduser())
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Read ``VULCAN_SECTION__KEY`` with pydantic-settings' own parser, and refuse strangers."""
    known = {ENV_PREFIX + "__".join(path).upper() for path in _leaves(Settings)}
    for name in environ:
        if name.startswith(ENV_PREFIX) and name not in known:
            raise ConfigError("environment", name, "no such setting" + _nearest(name, known))
    names = {name.lower(): value for name, value in environ.items()}
    source = EnvSettingsSource(Settings)
    source.env_vars = names
    return _absolute(dict(source()), Path.cwd())


def _leaves(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from ((name, *rest) for rest in _leaves(kind))
        else:
            yield (name,)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    kept = {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
    }
    return {key: value for key, value in kept.items() if value is not None and value != {}}


def _refuse_unknown(
    values: Mapping[str, Any], known: Mapping[str, Any], source: str, above: str = ""
) -> None:
    for key, value in values.items():
        if key not in known:
            raise ConfigError(source, above + key, "no such setting" + _nearest(key, known))
        if isinstance(known[key], dict):
            if not isinstance(value, Mapping):
                raise ConfigError(source, above + key, "is a table of settings, not a value")
            _refuse_unknown(value, known[key], source, f"{above}{key}.")


def _nearest(key: str, known: Any) -> str:
    near = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        inner = isinstance(value, Mapping) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if inner else value
    return merged


def _first_problem(
    error: ValidationError, sources: list[tuple[dict[str, Any], str]]
) -> ConfigError:
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"]]
    source = next((name for values, name in reversed(sources) if _holds(values, path)), "")
    why = problem["msg"].removeprefix("Value error, ")
    return ConfigError(source or str(BUILT_IN), ".".join(path), f"{why} (got {problem['input']!r})")


def _holds(values: Any, path: list[str]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return bool(values) and not isinstance(values, Mapping)
        values = values[part]
    return True
