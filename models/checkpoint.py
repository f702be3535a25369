"""A model as it was saved: one safetensors file, a sharded set, or a folder with either.

A sharded set is described by `<name>.safetensors.index.json`, whose `weight_map` says which file
holds which tensor. A folder is searched by file names, never by a config: for such an index, for
one lone file, and for a pipeline in its `transformer/`. What is found comes out as one table of
tensors, each with the number of the file it lies in. Headers only; nothing is trusted.

It does not know what a tensor means.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import safetensors_file
from models.errors import ModelError
from models.safetensors_file import SafetensorsFile, TensorInfo

INDEX = ".safetensors.index.json"
INDEX_LIMIT = 64 << 20  # bytes; FLUX.1's has 120 kB
MOST_SHARDS = 256  # each is a file that is kept open
SUB_FOLDER = "transformer"  # where a diffusers pipeline keeps what ComfyUI calls the unet
_SHARD = re.compile(r"(.+)-([0-9]+)-of-([0-9]+)\.safetensors")


@dataclass(frozen=True, slots=True)
class Located:
    """A tensor, and the number of the file in which it lies."""

    info: TensorInfo
    file: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All files of a model.

    Attributes:
        path: what the user named.
        files: headers, in the order of the files' names.
        tensors: by name; file by file, in the order in which the bytes lie.
    """

    path: Path
    files: tuple[SafetensorsFile, ...]
    tensors: Mapping[str, Located]

    @property
    def metadata(self) -> Mapping[str, str]:
        """The files' metadata, joined; the last file wins."""
        return {key: text for file in self.files for key, text in file.metadata.items()}


def read(path: Path) -> Checkpoint:
    """Read the headers of the model that `path` (file, index or folder) names.

    Raises:
        ModelError: there is none, more than one, or it is damaged.
    """
    found = _in_folder(path) if path.is_dir() else path
    index = _index_of_shard(found)
    if index is not None:
        return _joined(path, [index.parent / name for name in _shards(index)], _weight_map(index))
    return _joined(path, [found], None)


def _index_of_shard(path: Path) -> Path | None:
    """The index that `path` is, or that the shard `path` belongs to."""
    if path.name.endswith(INDEX):
        return path
    shard = _SHARD.fullmatch(path.name)
    if shard is None or (int(shard[3]) == 1 and path.is_file()):
        return None
    index = path.with_name(shard[1] + INDEX)
    if not index.is_file():
        raise ModelError(
            f"it is one of {int(shard[3])} files of a model",
            path=path,
            why=f"{index.name}, which says what lies where, is not beside it",
            fix="Download the index and all files into one folder",
        )
    return index


def _in_folder(folder: Path) -> Path:
    """The one model of a folder, or of the pipeline that it is."""
    for place in (folder, folder / SUB_FOLDER):
        indexes = sorted(place.glob(f"*{INDEX}"))
        files = [p for p in sorted(place.glob("*.safetensors")) if not _SHARD.fullmatch(p.name)]
        if len(indexes) + len(files) == 1:
            return (indexes + files)[0]
        if indexes or files:
            raise ModelError(
                "the folder holds more than one model",
                path=place,
                why=", ".join(p.name for p in (indexes + files)[:5]),
                fix="Name one of them instead of the folder",
            )
    raise ModelError(
        "there is no model in the folder",
        path=folder,
        why=f"neither in it nor in its {SUB_FOLDER}/ is a .safetensors file or *{INDEX}",
        fix="Name the folder with diffusion_pytorch_model*.safetensors, or the file itself",
    )


def _weight_map(index: Path) -> dict[str, str]:
    try:
        if index.stat().st_size > INDEX_LIMIT:
            raise _damaged(index, f"it has {index.stat().st_size} bytes")
        table = json.loads(index.read_bytes())
    except OSError as error:
        raise ModelError(
            "it cannot be read",
            path=index,
            why=error.strerror or "",
            fix="Check the path, and that you may read it",
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(index, f"it is no JSON: {error}") from error
    weights: Any = table.get("weight_map") if isinstance(table, dict) else None
    if not isinstance(weights, dict) or not all(map(_is_plain_name, weights.values())):
        raise _damaged(index, "it has no weight_map of tensors to file names beside it")
    return weights


def _is_plain_name(name: object) -> bool:
    """Whether it names a safetensors file beside the index, and nothing elsewhere."""
    if not isinstance(name, str):
        return False
    return name.endswith(".safetensors") and name.isprintable() and not set(name) & set("/\\")


def _shards(index: Path) -> list[str]:
    names = sorted(set(_weight_map(index).values()))
    if len(names) > MOST_SHARDS:
        raise _damaged(index, f"it names {len(names)} files, more than {MOST_SHARDS}")
    return names


def _joined(path: Path, paths: list[Path], weight_map: Mapping[str, str] | None) -> Checkpoint:
    files = tuple(map(safetensors_file.read_header, paths))
    tensors: dict[str, Located] = {}
    for number, file in enumerate(files):
        for info in file.tensors:
            if info.name in tensors:
                raise _twice(file.path, info.name)
            tensors[info.name] = Located(info, number)
    _check_against_map(path, tensors, files, weight_map)
    return Checkpoint(path, files, tensors)


def _check_against_map(
    path: Path,
    tensors: Mapping[str, Located],
    files: tuple[SafetensorsFile, ...],
    weight_map: Mapping[str, str] | None,
) -> None:
    for name, file_name in (weight_map or {}).items():
        where = tensors.get(name)
        if where is None or files[where.file].path.name != file_name:
            raise ModelError(
                "the shards do not fit their index",
                path=path,
                why=f"{name!r} should lie in {file_name!r} and does not",
                fix="Download index and files again, from the same place",
            )


def _twice(path: Path, name: str) -> ModelError:
    return ModelError(
        "two files of the model hold the same tensor",
        path=path,
        why=repr(name),
        fix="Keep the files of one model only in the folder",
    )


def _damaged(index: Path, why: str) -> ModelError:
    return ModelError("the index of the shards is damaged", path=index, why=why, fix="Get it again")
