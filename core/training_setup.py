"""From what was typed to what a training needs: its plan, its files on this machine, its folder.

Finds and hashes model files as ``pair`` does; nothing is trained and no cloud is asked here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from configs.settings import MICRO, Settings
from core import prepare
from core.training_record import Where
from models import base_shape, flux, store
from models.errors import ModelError
from models.store import Folder
from training import recipe, run_plan
from training.errors import TrainingError
from training.recipe import Preset
from training.run_folder import RunFolder
from training.run_plan import Assets, Backend, Plan

TRAININGS = "trainings"  # in the state folder
_GGUF = ".gguf"

Report = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A training as it was asked for.

    Attributes:
        pictures: folder with pictures and captions.
        name: of the LoRA.
        preset: what kind of thing it learns.
        place: whose machine trains.
        changed: recipe values that flags gave, as texts.
        trigger: the word that calls it; empty for its name.
        backend: how the base lies in memory; None for what suits its file.
        unet: the base, a path or a name in the models folder; empty for the settings' own.
    """

    pictures: Path
    name: str
    preset: Preset
    place: Where
    changed: Mapping[str, str]
    trigger: str = ""
    backend: Backend | None = None
    unet: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a training is made of.

    Attributes:
        plan: what it makes.
        assets: where this machine has what it needs.
        edge: the file that will draw with the LoRA.
        is_micro: whether the base is the small Flux that comes with Vulcan.
    """

    plan: Plan
    assets: Assets
    edge: Path
    is_micro: bool


def find(wanted: Wanted, settings: Settings, report: Report) -> Setup:
    """Find everything.

    Args:
        wanted: what was asked for.
        settings: whose models folder and companions.
        report: told what is being done and the share done, 0 to 1.

    Raises:
        ModelError: a model file is not there, or no Flux.
        TrainingError: a value or a backend cannot be used.
        PrepareError: the micro Flux could not be quantised.
        OSError: a file cannot be read or written.
    """
    _refuse_bad_name(wanted.name)
    base = _base(wanted, settings, report)
    backend = _backend(wanted.backend, base)
    edge = base if base.suffix == _GGUF else prepare.unet_path(settings)
    if not edge.is_file():
        fix = "Run the director once, which makes it, or quantise it: director.py quantize"
        raise ModelError("the file that is to draw with the LoRA is not there", path=edge, fix=fix)
    is_micro = base_shape.read(base).hidden < flux.FLUX_DEV.hidden
    values = recipe.load(wanted.preset, wanted.changed, micro=is_micro)
    report(f"hashing {base.name}, once", 0.0)
    plan = Plan(
        name=wanted.name,
        trigger=wanted.trigger or wanted.name,
        preset=wanted.preset,
        backend=backend,
        base_name=base.name,
        base_sha256=store.cached_sha256(base, settings.state / prepare.HASHES),
        recipe=values,
    )
    # What is small travels to a cloud; FLUX.1's companions are there already.
    needed = is_micro or wanted.place is Where.LOCAL
    return Setup(plan, _assets(wanted, base, settings, needed), edge, is_micro)


def make(folder: Path, setup: Setup) -> None:
    """Make a run folder with plan and assets.

    Raises:
        OSError: the disk refuses.
    """
    run = RunFolder(folder)
    run_plan.write(run.assets, setup.assets)
    run_plan.write(run.plan, setup.plan)


def differences(then: Plan, now: Plan) -> list[str]:
    """Say in what two plans differ; empty if in nothing."""
    before, after = (_flat(plan) for plan in (then, now))
    names = dict.fromkeys([*before, *after])
    return [
        f"{name} was {before.get(name)} and is {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def overrides(given: Sequence[str]) -> dict[str, str]:
    """Read ``NAME=VALUE`` flags.

    Raises:
        TrainingError: one has no ``=``.
    """
    values = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            fix = "Write it so: --set steps=800"
            raise TrainingError(f"{text!r} is no NAME=VALUE", fix=fix)
        values[name.strip()] = value.strip()
    return values


def _flat(plan: Plan) -> dict[str, object]:
    values: dict[str, object] = plan.model_dump(mode="json", exclude={"recipe"})
    return values | plan.recipe.model_dump(mode="json")


def _refuse_bad_name(name: str) -> None:
    """Before gigabytes are hashed; the plan would refuse it as well, in words of pydantic's."""
    if not (name[:1].isalnum() and name.isascii() and len(name) <= 64) or any(
        not (letter.isalnum() or letter in "._-") for letter in name
    ):
        raise TrainingError(
            f"{name!r} cannot be a LoRA's name",
            why="it becomes a file's, a pair's and a cloud's: up to 64 of A-Z a-z 0-9 . _ -, "
            "with a letter or digit in front",
            fix="Choose another, such as ohwx",
        )


def _base(wanted: Wanted, settings: Settings, report: Report) -> Path:
    """Return the file that is trained on."""
    if wanted.unet:
        return _file(Folder.UNET, wanted.unet, settings)
    path = prepare.unet_path(settings)
    if settings.model.source == MICRO:
        ready, _ = prepare.prepare(settings, report, _leave_alone)
        return ready.unet_path
    if not path.is_file():
        fix = "Run the director once, which makes it, or name another with --unet"
        raise ModelError("the settings' unet is not there yet", path=path, fix=fix)
    return path


def _leave_alone(_child: "Popen[str]") -> None:
    """A child that prepares: Ctrl-C reaches it as it reaches us."""


def _backend(asked: Backend | None, base: Path) -> Backend:
    is_gguf = base.suffix == _GGUF
    if asked is None:
        return Backend.GGUF if is_gguf else Backend.BF16
    if (asked is Backend.GGUF) is not is_gguf:
        need = "a .gguf file" if asked is Backend.GGUF else "an FP16 or BF16 file (.safetensors)"
        fix = "Name one with --unet, or leave --backend out"
        raise TrainingError(f"the backend {asked} trains on {need}", path=base, fix=fix)
    return asked


def _assets(wanted: Wanted, base: Path, settings: Settings, needed: bool) -> Assets:
    first, second = prepare.text_encoders(settings)

    def companion(folder: Folder, name: str) -> Path:
        return _file(folder, name, settings) if needed else settings.folders.models / folder / name

    return Assets(
        pictures=wanted.pictures.absolute(),
        unet=base,
        clip_l=companion(Folder.TEXT_ENCODERS, first),
        t5=companion(Folder.TEXT_ENCODERS, second),
        vae=companion(Folder.VAE, prepare.vae(settings)),
        models=settings.folders.models,
    )


def _file(folder: Folder, name: str, settings: Settings) -> Path:
    """Return a file by its path, or by its name in a models folder."""
    given = Path(name).expanduser()
    if given.is_file():
        return given.absolute()
    own, hosts = settings.folders.models, settings.host.models
    models = (own, *([hosts] if hosts else []))
    return store.find([place for one in models for place in store.places(one, folder)], name)
