"""What the playground is made of that others wrote: from the npm registry and the Python one, pinned with checksums."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

PYODIDE = ("pyodide", "314.0.7", "66b7949e5a0cba2250b586d7e368bf12fb482800748d182c4618254b685ffaa0")
ENGINE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
WHEELS = (
    ("sympy", "1.14.0", "e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5"),
    ("mpmath", "1.3.0", "a0b2b9fe80bbcd81a6647ff13108738cfb482d481d826cc0e02f5b35e5c88d2c"),
)
# CodeMirror, of which each package is one module, and what it imports
EDITOR = (
    ("@codemirror/commands", "6.11.1", "f477f46d8c00278e1b387baebd53bd6556fd5f3c7401ebe2a05543600fcbff0f"),
    ("@codemirror/language", "6.13.1", "e711ec28da046f6c163e777c5466d8ac805ee9ef5f51c511e8729c6789be7f83"),
    ("@codemirror/lint", "6.9.8", "637290fb6a6633a1a08f44c721afb75e0387d86c9b7c42d723a00a974811aae8"),
    ("@codemirror/state", "6.7.6", "91d75acc955ceeaf86af9396c11cda7694fe6222aac8427fa033d89eff5ac839"),
    ("@codemirror/streamparser", "6.0.0", "b4888c5ab40350e7a1747d765948a8fa45cfd127c479dd4cdef8097046efe14a"),
    ("@codemirror/view", "6.43.15", "f0d5921406f841d211fa0887aabf10626c47676bfc63a4abed2a4d207e27c5ac"),
    ("@lezer/common", "1.5.5", "ed93cee36403124f51eae638b8a032d6694914c19704de7610db7f2a9441c963"),
    ("@lezer/highlight", "1.2.5", "e349eec1ff4382439c1e6286ae937e0203a8349c5192e2e133863391775ac7ff"),
    ("@marijn/find-cluster-break", "1.0.4", "5d12b770b64d46632c84fcd18e1d4c09f195ed0f5dbc71f94a41f0af333eaeae"),
    ("crelt", "1.0.7", "3542299c0278fdc26aceb2b13d31bffbcb89d7367706bbc457130e3fd103c03e"),
    ("style-mod", "4.1.5", "c4a44844213a141da55c51a2f81d701acdb9944465328b4a2a6b9626c6d9fc39"),
    ("w3c-keyname", "2.2.8", "05d21484026d1f2dd842c843181e391e66d60f1d5dff292d562c3f40302dab36"),
)
MODULES = {"@marijn/find-cluster-break": "src/index.js", "style-mod": "src/style-mod.js"}
MODULES |= dict.fromkeys(("crelt", "w3c-keyname"), "index.js")
IMPORT = re.compile(r"^((?:import|export) [^'\"\n]* from )['\"]([^'\"\n]+)['\"]", re.MULTILINE)
LIMIT = 60  # seconds for one registry's answer
NPM = ("npm", "pack", "--silent", "--ignore-scripts", "--fetch-retries=0", f"--fetch-timeout={LIMIT}000")
PIP = ("-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-cache-dir", "--retries", "1", "--no-deps")


class Unavailable(Exception):
    """The playground cannot be made here; says why."""


def packages(work: Path) -> dict[str, Path]:
    """The npm packages by name, in one question to the registry."""
    wanted = (PYODIDE, *EDITOR)
    named = [f"{name}@{version}" for name, version, _ in wanted]
    run([*NPM, "--cache", str(work / "npm"), "--pack-destination", str(work), *named])
    return {n: right(work / f"{n.lstrip('@').replace('/', '-')}-{version}.tgz", sha) for n, version, sha in wanted}


def wheels(work: Path) -> list[Path]:
    run([sys.executable, *PIP, "-d", str(work), *(f"{name}=={version}" for name, version, _ in WHEELS)])
    return [right(work / f"{name}-{version}-py3-none-any.whl", sha) for name, version, sha in WHEELS]


def editor(packed: dict[str, Path], out: Path) -> None:
    """The modules of the editor beside the page, which import each other by file, and their licence.

    Raises
    ------
    Unavailable
        Where a module imports one that is not pinned.
    """
    files = {name: f"{name.lstrip('@').replace('/', '-')}.js" for name, *_ in EDITOR}

    def beside(found: re.Match[str]) -> str:
        if found[2] not in files:
            raise Unavailable(f"{name} imports {found[2]!r}, which is not pinned")
        return f'{found[1]}"./{files[found[2]]}"'

    for name in files:
        text = member(packed[name], MODULES.get(name, "dist/index.js")).decode()
        (out / files[name]).write_text(IMPORT.sub(beside, text), encoding="utf-8")
    (out / "codemirror-LICENSE.txt").write_bytes(member(packed["@codemirror/view"], "LICENSE"))


def member(package: Path, name: str) -> bytes:
    with tarfile.open(package) as files:
        found = files.extractfile(f"package/{name}")
        assert found is not None
        return found.read()


def run(command: Sequence[str | os.PathLike[str]], limit: float = LIMIT) -> None:
    """Run a program to its end; at the limit it and all that it started are killed.

    Raises
    ------
    Unavailable
        Where it failed, with its last words, or did not end.
    """
    said = " ".join(map(str, command[:3])) + " …"
    with tempfile.TemporaryFile() as words:  # no pipe, which a grandchild could hold open
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, start_new_session=True
            )
        except OSError as error:
            raise Unavailable(f"{said}: {error}") from None
        try:
            code = process.wait(limit)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise Unavailable(f"{said}: no answer within {limit:.0f} seconds") from None
            raise
        if code:
            words.seek(0)
            lines = [
                one for one in words.read().decode(errors="replace").splitlines() if one.strip() and len(one) < 400
            ]
            raise Unavailable(f"{said}: " + "\n".join(lines[-12:]))


def right(file: Path, checksum: str) -> Path:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != checksum:
        raise Unavailable(f"{file.name} has the checksum {found}, not {checksum}")
    return file
