"""Loops in C in place of XLA's operations on a CPU, where a C compiler is."""

import ctypes
import hashlib
import os
import platform
import shlex
import subprocess
import tempfile
import warnings
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


def native_target(code, name, real, known={}):
    """The name by which XLA finds a C function; None where it cannot be built, which is said once.

    The library stands in DERIVE_CACHE, or the user's cache folder, by the digest of all it was made of.
    """
    if code not in known:
        known[code] = {}
    targets = known[code]
    if real not in targets:
        try:
            targets[real] = ctypes.CDLL(str(native_library(code, real)))
        except (OSError, subprocess.SubprocessError, ValueError, AttributeError) as error:
            targets[real] = None
            said = getattr(error, "stderr", None) or error
            warnings.warn(f"XLA's operations in place of loops in C, for no C compiler built them (CC says which): {said}")
    if targets[real] is None:
        return None
    target = f"{name}_{real}_{hashlib.sha256(code.encode()).hexdigest()[:20]}"
    if target not in known:
        known[target] = jax.ffi.pycapsule(getattr(targets[real], name))
        jax.ffi.register_ffi_target(target, known[target], platform="cpu")
    return target


def native_library(code, real):
    """The file of a C text, built if it is not there as it was built; written beside and renamed, so it is whole."""
    command = shlex.split(os.environ.get("CC") or "cc")
    command += ["-O3", "-march=native", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"]
    command += [f"-DREAL={real}", f"-I{jax.ffi.include_dir()}", "-x", "c", "-"]
    machine = Path("/proc/cpuinfo")
    flags = [line for line in machine.read_text().splitlines() if line.startswith("flags")][:1] if machine.exists() else []
    made_of = "\0".join([code, *command, jax.__version__, platform.platform(), platform.processor(), *flags])
    named = os.environ.get("DERIVE_CACHE", "")
    kept = named.lower() not in ("off", "0", "false")
    folder = Path(named or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "derive") / "native"
    path = folder / f"{hashlib.sha256(made_of.encode()).hexdigest()[:40]}.so"
    digest = path.with_suffix(".sha256")

    def whole():
        at = folder.stat()
        own = not hasattr(os, "getuid") or {path.stat().st_uid, at.st_uid} == {os.getuid()} and not at.st_mode & 0o022
        return own and hashlib.sha256(path.read_bytes()).hexdigest() == digest.read_text()

    try:
        if kept and whole():
            return path
    except OSError:
        pass
    try:
        if not kept:
            raise OSError
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = Path(tempfile.mkdtemp(dir=folder))
    except OSError:
        beside, kept = Path(tempfile.mkdtemp()), False
    made = beside / path.name
    try:
        subprocess.run([*command, "-o", str(made), "-lm"], input=code, text=True, capture_output=True, check=True, timeout=120)
        if not kept:
            return made
        (beside / digest.name).write_text(hashlib.sha256(made.read_bytes()).hexdigest())
        os.replace(made, path)
        os.replace(beside / digest.name, digest)
        return path
    finally:
        if kept or not made.exists():
            for left in beside.iterdir():
                left.unlink()
            beside.rmdir()
