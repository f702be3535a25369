"""The folders of the host: models by kind, and input, output, temp.

Says which file names exist and turns a name that a client sent into a path, never outside its
folder. Does not know what is inside a file.
"""

import mimetypes
import os
from dataclasses import dataclass
from pathlib import Path

from host.errors import RenderError

MODEL_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # kind as in GET /models/{kind}: (folders below the models folder, file endings)
    "checkpoints": (("checkpoints",), (".safetensors",)),
    "loras": (("loras",), (".safetensors",)),
    "vae": (("vae",), (".safetensors",)),
    "text_encoders": (("text_encoders", "clip"), (".safetensors",)),
    "diffusion_models": (("unet", "diffusion_models"), (".safetensors",)),
    "embeddings": (("embeddings",), (".safetensors",)),
    "unet_gguf": (("unet", "diffusion_models"), (".gguf",)),
    "clip_gguf": (("text_encoders", "clip"), (".gguf",)),
}
"""ComfyUI's folder names. Only safetensors and GGUF: a pickle can run code when it is read."""

TEMP_PREFIX = "ComfyUI_temp_"
"""How names of previews begin, here as in ComfyUI."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the host reads and writes.

    Attributes:
        models: parent of ``unet``, ``loras``, ``text_encoders``, ``vae``.
        output: what SaveImage writes.
        input: what clients upload.
        temp: previews; emptied at start.
    """

    models: Path
    output: Path
    input: Path
    temp: Path

    def root(self, kind: str) -> Path | None:
        """Return the folder that ``/view`` and ``/upload`` call by this type, or None."""
        return {"output": self.output, "input": self.input, "temp": self.temp}.get(kind)

    def annotated(self, name: str) -> Path | None:
        """Return the path of a picture as graphs name it (``x.png``, ``sub/x.png [output]``).

        Without a folder in brackets it lies in the input folder. None if the name leads elsewhere;
        whether there is such a file is not asked.
        """
        plain, kind = split_annotation(name)
        root = self.root(kind or "input")
        return inside(root, plain) if root else None

    def pictures(self) -> list[str]:
        """Return the names of the files in the input folder that are pictures by their ending."""
        return [name for name in self.inputs() if _is_picture(name)]

    def inputs(self) -> list[str]:
        """Return the names of all files in the input folder, without those of subfolders."""
        try:
            return sorted(path.name for path in self.input.iterdir() if path.is_file())
        except OSError:  # no upload yet, so no folder either
            return []

    def names(self, kind: str) -> list[str]:
        """Return the model files of a kind, with their subfolders, as the combo lists show them.

        Read from disk at each call: a new LoRA shows without a restart.
        """
        subfolders, endings = MODEL_KINDS[kind]
        found: set[str] = set()
        for subfolder in subfolders:
            found.update(_names_below(self.models / subfolder, endings))
        return sorted(found, key=str.casefold)

    def model(self, kind: str, name: str) -> Path:
        """Return the path of a model file.

        Raises:
            RenderError: there is no such file, or the name leads out of its folder.
        """
        subfolders, endings = MODEL_KINDS[kind]
        for subfolder in subfolders:
            path = inside(self.models / subfolder, name)
            if path is not None and path.suffix.lower() in endings and path.is_file():
                return path
        raise RenderError(
            f"There is no file {name!r} in {' or '.join(subfolders)}",
            fix=f"Copy it there, or choose one that GET /models/{kind} lists",
        )

    def empty_temp(self) -> None:
        """Remove the previews that earlier runs left, and nothing else: any folder may be given."""
        for path in self.temp.glob(f"{TEMP_PREFIX}*.png"):
            path.unlink(missing_ok=True)


def is_file(path: Path) -> bool:
    """Return whether there is such a file; a name too long for any file is no error here."""
    try:
        return path.is_file()
    except OSError:
        return False


def split_annotation(name: str) -> tuple[str, str | None]:
    """Split ``x.png [output]`` into the name and the folder's type, None if it says none."""
    for kind in ("output", "input", "temp"):
        if name.endswith(f"[{kind}]"):
            return name.removesuffix(f"[{kind}]").rstrip(), kind
    return name, None


def _is_picture(name: str) -> bool:
    kind = mimetypes.guess_type(name, strict=False)[0]
    return kind is not None and kind.startswith("image/")


def inside(root: Path, name: str) -> Path | None:
    """Return ``root / name``, or None when the name itself leads elsewhere (.., absolute, NUL).

    Symbolic links are followed: who puts one there wants it (big models often lie on another disk).
    """
    if "\0" in name or Path(name).is_absolute():
        return None
    path = Path(os.path.normpath(root / name))
    return path if path.is_relative_to(os.path.normpath(root)) else None


def _names_below(root: Path, endings: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        matching = (name for name in names if Path(name).suffix.lower() in endings)
        found.update((Path(folder) / name).relative_to(root).as_posix() for name in matching)
    return found
