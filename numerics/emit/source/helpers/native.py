"""Loops in C in place of XLA's operations on a CPU, where a C compiler is."""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax


def native(code, name, plain):
    """A function by its loops in C: called by XLA on a CPU for floats and doubles, and otherwise ``plain``."""

    def call(*arrays):
        dtype, reals = jnp.result_type(*arrays), {"float32": "float", "float64": "double"}
        real = reals.get(str(dtype)) if hasattr(jax, "ffi") else None
        target = real and native_target(code, name, real)
        if not target:
            return plain(*arrays)
        loops = jax.ffi.ffi_call(target, jax.eval_shape(plain, *arrays), vmap_method="sequential")
        return lax.platform_dependent(*(a.astype(dtype) for a in arrays), cpu=loops, default=plain)

    return call


def native_target(code, name, real, known={}):  # noqa: B006  what this process has built
    """The name by which XLA finds a C function; None where it cannot be built, which is said once."""
    if real not in known:
        try:
            known[real] = native_library(code, real)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            said = getattr(error, "stderr", None) or str(error)[:200]
            if None not in known.values():
                warnings.warn(f"loops in C are left to XLA's operations, for they could not be built: {said}", stacklevel=2)
            known[real] = None
    if known[real] is None:
        return None
    target = f"{name}_{real}_{hashlib.sha256(code.encode()).hexdigest()[:20]}"
    if target not in known:
        known[target] = jax.ffi.pycapsule(getattr(known[real], name))
        try:
            jax.ffi.register_ffi_target(target, known[target], platform="cpu")
        except jax.errors.JaxRuntimeError as error:
            if "Duplicate" not in str(error):
                raise  # else another module of this process has brought the same loops, from a library of its own
    return target


def native_library(code, real):
    """A C text as a library of this process: from the folder of DERIVE_CACHE where it is as it was built, else built there.

    It is written beside and renamed, so it is whole, by the digest of all that it was made of; the compiler is what CC says,
    else ``cc``, else that of the package ziglang.
    """
    command = shlex.split(os.environ.get("CC", "")) or [shutil.which("cc")]
    if command == [None]:
        if not find_spec("ziglang"):
            raise OSError("no C compiler is found; set CC, install one as cc, or pip install derive-numerics[native]")
        command = [sys.executable, "-m", "ziglang", "cc"]
    command += ["-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]
    command += ["-shared", "-fPIC", f"-DREAL={real}", f"-I{jax.ffi.include_dir()}", "-x", "c", "-"]
    cpu = Path("/proc/cpuinfo")
    flags = [line for line in cpu.read_text().splitlines() if line.startswith("flags")][:1] if cpu.exists() else []
    made_of = "\0".join([code, *command, jax.__version__, platform.platform(), platform.processor(), *flags])
    named = os.environ.get("DERIVE_CACHE", "")
    folder = Path(named or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "derive") / "native"
    path = folder / f"{hashlib.sha256(made_of.encode()).hexdigest()[:40]}.so"
    digest = path.with_suffix(".sha256")
    beside = None
    try:
        if named.lower() in ("off", "0", "false"):
            raise OSError
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        at = folder.stat()
        if hasattr(os, "getuid") and (at.st_uid != os.getuid() or at.st_mode & 0o022):
            raise OSError  # somebody else could put a library there
        if path.exists() and digest.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == digest.read_text():
            return ctypes.CDLL(str(path))
        beside = Path(tempfile.mkdtemp(dir=folder))
        kept = True
    except OSError:
        beside, kept = Path(tempfile.mkdtemp()), False
    try:
        made = beside / path.name
        subprocess.run([*command, "-o", str(made), "-lm"], input=code, text=True, capture_output=True, check=True, timeout=120)
        if kept:
            (beside / digest.name).write_text(hashlib.sha256(made.read_bytes()).hexdigest())
            os.replace(beside / digest.name, digest)
            made = Path(shutil.move(made, path))
        return ctypes.CDLL(str(made))
    finally:
        shutil.rmtree(beside, ignore_errors=True)
