"""Rewrite a LoRA of any naming in the one that ComfyUI and diffusers both load, with a scale of 1.

    transformer.<diffusers module>.lora_A.weight   (rank, in)
    transformer.<diffusers module>.lora_B.weight   (rows, rank), the file's scale in it

Which rows become which tensor is lora_cut's answer. The scale is multiplied into B in float32 and
rounded back to B's own type; where half precision cannot hold the result (it becomes subnormal or
infinite), that B is kept in F32. Alpha keys, and metadata that would be untrue or applied twice,
are left out. Text encoder keys are taken along as they are.

There are two passes, one tensor in memory at a time: each is looked at, then written.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import lora_scale, safetensors_file, store
from models.lora import LoraFile
from models.safetensors_file import TensorInfo
from models.tensor_types import TensorType
from quantize import decode, lora_values
from quantize.errors import Problem, QuantizeError
from quantize.float_types import FloatType
from quantize.lora_cut import LoraConversion, Module
from quantize.lora_values import LoraValues, Matrix
from quantize.part_file import part_of

SUFFIX = ".safetensors"
CONVERTED_FROM = "vulcan.converted_from"
SOURCE_HASH = "vulcan.source_sha256"
# Untrue of the new file, or used by diffusers on top of the scale that is in B already.
_DROPPED = (lora_scale.KEY, "ss_network_module", "modelspec.hash_sha256")
_DROPPED_PREFIX = "sshs_"
_ROUNDING: Mapping[str, float] = {"F16": 2.0**-11, "BF16": 2.0**-8, "F32": 2.0**-24}


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written.

    Attributes:
        modules: diffusers modules with a pair.
        carried: text encoder tensors, taken along.
        scaled: modules whose B was multiplied.
        inexact: those of them whose scale is no power of two, so that B was rounded.
        widened: B that are F32 now, since their own type could not hold the result.
        error: largest relative error of a B, by Frobenius norm.
    """

    modules: int
    carried: int
    scaled: int
    inexact: int
    widened: int
    error: float


def convert(conversion: LoraConversion, target: Path, *, force: bool = False) -> Converted:
    """Write the target; it is there as a whole, or not at all.

    Raises:
        QuantizeError: the target is there, is the source, or no .safetensors; no room; NaN or
            infinity in the LoRA.
        ModelError: the source shrank.
    """
    _check_target(conversion.lora.path, target, force)
    try:
        with lora_values.opened(conversion.lora.path) as values:
            pairs = [_examined(module, values) for module in conversion.modules]
            return _written(conversion, pairs, values, target)
    except OSError as error:
        raise QuantizeError(
            Problem.DISK,
            "the LoRA was not converted",
            path=Path(error.filename) if error.filename else target,
            why=error.strerror or str(error),
            fix="Make sure that it can be read and the target's folder written",
        ) from error


def _check_target(source: Path, target: Path, force: bool) -> None:
    if target.is_dir() or (target.exists() and target.samefile(source)):
        what = "the target is the source, or a folder"
        raise QuantizeError(Problem.BAD_SOURCE, what, path=target, fix="Name another file")
    if target.suffix != SUFFIX:
        what = f"the target must end in {SUFFIX}, or no host lists it"
        raise QuantizeError(Problem.BAD_SOURCE, what, path=target, fix="Name it so")
    if target.exists() and not force:
        raise QuantizeError(
            Problem.TARGET_EXISTS,
            "the target exists and is kept",
            path=target,
            fix="Use --force to replace it",
        )


@dataclass(frozen=True, slots=True)
class _Pair:
    """A module's two tensors as they will be written."""

    module: Module
    down: tuple[str, tuple[int, ...]]
    up: tuple[str, tuple[int, ...]]
    error: float = 0.0
    widened: bool = False


def _examined(module: Module, values: LoraValues) -> _Pair:
    """Look at every number of a module, and choose the types of the result."""
    layers = [share.layer for share in module.shares]
    for info in {layer.down.name: layer.down for layer in layers}.values():
        _check_finite(info, values.rows(info))
    up = _up(module, values)
    kind = _common([layer.up.dtype for layer in layers])
    rank, width = sum(layer.rank for layer in layers), layers[0].down.shape[1]
    pair = _Pair(
        module,
        (_common([layer.down.dtype for layer in layers]), (rank, width)),
        (kind, (module.shares[0].rows, rank)),
    )
    error = _error(up, kind)
    if error > _ROUNDING[kind]:
        return replace(pair, up=("F32", pair.up[1]), widened=True)
    return replace(pair, error=error)


def _common(dtypes: list[str]) -> str:
    return dtypes[0] if len(set(dtypes)) == 1 else "F32"


def _check_finite(info: TensorInfo, matrix: Matrix) -> None:
    if not np.isfinite(matrix).all():
        raise QuantizeError(
            Problem.BAD_WEIGHT,
            "the LoRA holds NaN or infinity",
            path=None,
            why=f"in {info.name}",
            fix="Its training went wrong: use an earlier state of it",
        )


def _up(module: Module, values: LoraValues) -> Matrix:
    """B of a module in float32, with the scale in it."""
    parts = []
    for share in module.shares:
        rows = values.rows(share.layer.up, share.start, share.rows)
        if share.swap_halves:
            rows = np.concatenate([rows[share.rows // 2 :], rows[: share.rows // 2]])
        if share.layer.scale != 1:
            with np.errstate(over="ignore"):
                rows = rows * np.float32(share.layer.scale)
        _check_finite(share.layer.up, rows)
        parts.append(rows)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _error(up: Matrix, kind: str) -> float:
    """The relative error of rounding to a type; infinite if it cannot hold a number."""
    try:
        packed = _packed(up, kind)
    except OverflowError:
        return float("inf")
    back = np.empty(up.size, np.float32)
    decode.decode(packed, kind, back)
    size = float(np.linalg.norm(up.astype(np.float64)))
    return float(np.linalg.norm(back.astype(np.float64) - up.reshape(-1))) / size if size else 0.0


def _packed(matrix: Matrix, kind: str) -> NDArray[np.uint8]:
    packed = np.empty(matrix.size * safetensors_file.DTYPE_BYTES[kind], np.uint8)
    FloatType(TensorType[kind]).quantise(matrix, packed)
    return packed


def _written(
    conversion: LoraConversion, pairs: list[_Pair], values: LoraValues, target: Path
) -> Converted:
    specs = {}
    for pair in pairs:
        specs[f"transformer.{pair.module.name}.lora_A.weight"] = pair.down
        specs[f"transformer.{pair.module.name}.lora_B.weight"] = pair.up
    specs |= {info.name: (info.dtype, info.shape) for info in conversion.carried}
    header = safetensors_file.header(specs, _metadata(conversion.lora))
    total = len(header) + sum(_nbytes(*spec) for spec in specs.values())
    with part_of(target, total) as fd:
        position = _write(fd, 0, np.frombuffer(header, np.uint8))
        for data in _tensors(conversion, pairs, values):
            position += _write(fd, position, data)
    return _summary(conversion, pairs)


def _nbytes(dtype: str, shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * safetensors_file.DTYPE_BYTES[dtype]


def _tensors(
    conversion: LoraConversion, pairs: list[_Pair], values: LoraValues
) -> Iterator[NDArray[np.uint8]]:
    """The bytes of each tensor, in the header's order."""
    for pair in pairs:
        downs = [share.layer.down for share in pair.module.shares]
        if len(downs) == 1:
            yield values.raw(downs[0])
        else:
            yield _packed(np.concatenate([values.rows(info) for info in downs]), pair.down[0])
        yield _packed(_up(pair.module, values), pair.up[0])
    for info in conversion.carried:
        yield values.raw(info)


def _write(fd: int, position: int, data: NDArray[np.uint8]) -> int:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data.data[done:], position + done)
    return done


def _metadata(lora: LoraFile) -> dict[str, str]:
    kept = {
        key: text
        for key, text in lora.metadata.items()
        if key not in _DROPPED and not key.startswith(_DROPPED_PREFIX)
    }
    own = {CONVERTED_FROM: ", ".join(lora.families), SOURCE_HASH: store.sha256(lora.path)}
    return {"format": "pt"} | kept | own


def _summary(conversion: LoraConversion, pairs: list[_Pair]) -> Converted:
    scales = [{share.layer.scale for share in pair.module.shares} for pair in pairs]
    return Converted(
        modules=len(pairs),
        carried=len(conversion.carried),
        scaled=sum(found != {1.0} for found in scales),
        inexact=sum(not all(map(_is_power_of_two, found)) for found in scales),
        widened=sum(pair.widened for pair in pairs),
        error=max((pair.error for pair in pairs), default=0.0),
    )


def _is_power_of_two(scale: float) -> bool:
    return scale == 0 or abs(math.frexp(scale)[0]) == 0.5
