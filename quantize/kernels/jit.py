"""Compiling kernels for the processor at hand, when first needed, once per process.

What a processor can is read from LLVM. 512-bit vectors need AVX-512 with its BW, DQ and VL parts,
256-bit ones AVX2; every x86-64 and every 64-bit ARM has 128 bits. Anything else has no vectors
here, and its kernels run on the array machine.

Compiling takes a tenth to a fifth of a second per type and source format, so nothing is kept on
disk.
"""

import ctypes
import platform
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from quantize.kernels.block_kernel import BlockKernel
from quantize.kernels.halves import Source
from quantize.kernels.vectors import Shape, VectorMachine, counting

_WIDEST = ("avx512f", "avx512bw", "avx512dq", "avx512vl")
_BASIC = ("x86_64", "amd64", "aarch64", "arm64")
_BYTE, _LONG, _POINTER = ir.IntType(8), ir.IntType(64), ir.PointerType()
_SIGNATURE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64
)  # calling one releases the GIL
_lock = threading.Lock()  # LLVM's context is shared


@dataclass(frozen=True, slots=True)
class Target:
    """A processor: LLVM's name for it, its features, and the numbers in a vector (0: none)."""

    cpu: str
    features: str
    width: int
    triple: str = ""  # of another kind of processor, to look at its code


@dataclass(frozen=True, slots=True)
class Compiled:
    """A kernel's function (vectors.py has its signature) for `blocks` super-blocks a tile."""

    call: Callable[[int, int, int, int], None]
    blocks: int
    engine: Any  # keeps the code in memory


@cache
def host() -> Target:
    """This machine's processor."""
    features = llvm.get_host_cpu_features()
    width = 4 if platform.machine().lower() in _BASIC else 0
    if features.get("avx2"):
        width = 8
    if all(features.get(name) for name in _WIDEST):
        width = 16
    return Target(llvm.get_host_cpu_name(), features.flatten(), width)


def compiled(block: BlockKernel, source: Source, target: Target) -> Compiled:
    """Compile a kernel that reads one source format, for this machine's kind of processor.

    Raises:
        RuntimeError: LLVM failed.
    """
    shape = Shape.of(target.width, block)
    engine = linked(lambda: _module(block, source, shape), target)
    call = _SIGNATURE(engine.get_function_address("kernel"))
    return Compiled(call, shape.lanes // block.layout.sub_blocks, engine)


def linked(write: Callable[[], ir.Module], target: Target) -> Any:
    """Machine code of the module that `write` writes, for this machine's kind of processor.

    Returns:
        LLVM's engine: it knows the functions' addresses, and keeps the code in memory.

    Raises:
        RuntimeError: LLVM failed.
    """
    with _lock:
        code, machine = _translated(write(), target)
        engine = llvm.create_mcjit_compiler(code, machine)
        engine.finalize_object()
    return engine


def assembly(block: BlockKernel, source: Source, target: Target) -> str:
    """What a kernel becomes, for any processor that LLVM knows."""
    with _lock:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        module = _module(block, source, Shape.of(target.width, block))
        code, machine = _translated(module, target)
        return str(machine.emit_assembly(code))


def _translated(module: ir.Module, target: Target) -> tuple[Any, Any]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    code = llvm.parse_assembly(str(module))
    machine = llvm.Target.from_triple(
        target.triple or llvm.get_process_triple()
    ).create_target_machine(cpu=target.cpu, features=target.features, opt=2, jit=not target.triple)
    _optimise(code, machine)
    return code, machine


def _module(block: BlockKernel, source: Source, shape: Shape) -> ir.Module:
    """The function that vectors.py describes: a loop over tiles."""
    module, layout = ir.Module(), block.layout
    kind = ir.FunctionType(ir.VoidType(), [_POINTER, _POINTER, _POINTER, _LONG])
    function = ir.Function(module, kind, "kernel")
    raw, blocks, doubts, tiles = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    in_tile = shape.lanes // layout.sub_blocks
    with counting(builder, _LONG(0), tiles) as tile:

        def at(start: Any, per_block: int) -> Any:
            offset = builder.mul(tile, _LONG(in_tile * per_block))
            return builder.gep(start, [offset], source_etype=_BYTE)

        machine = VectorMachine(builder, layout, shape, at(blocks, layout.nbytes), at(doubts, 1))
        machine.fill(at(raw, layout.size * source.nbytes), source)
        block.kernel(machine)
        machine.tell_doubts()
    builder.ret_void()
    return module


def _optimise(code: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """Registers for variables, and the usual cleaning; vectors and loops are written as wanted."""
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    options.loop_interleaving = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(code, builder)
