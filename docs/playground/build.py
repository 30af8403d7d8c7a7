"""Writes the playground: the page, the interpreter, and the library already imported, as one folder for any static host.

    python docs/playground/build.py OUT            write it
    python docs/playground/build.py OUT --serve    write it and serve it on this machine

Pyodide and CodeMirror come from the npm registry and SymPy and mpmath from the Python one, each pinned with its checksum
(packages.py).  Node then starts the interpreter, imports the library, goes once through what the page asks, and keeps the
interpreter's memory: the page starts from there.  What was made is kept by a key of all that it is made of, so that a second
build copies.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import gzip
import hashlib
import http.server
import io
import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)] if str(HERE) not in sys.path else []

from packages import ENGINE, PYODIDE, Unavailable, editor, member, packages, run, wheels  # noqa: E402

ROOT = HERE.parents[1]
CACHE = ROOT / "docs" / "_build" / "playground-cache"

START = 120  # seconds that the interpreter may take in Node: most of it is compiling the library
UNUSED = ("/tests/", "/benchmarks/", "sympy/physics/", "sympy/parsing/autolev/", "sympy/parsing/latex/", ".dist-info/")


def build(out: Path) -> None:
    """Write the whole folder ``out``.

    Raises
    ------
    Unavailable
        Where Node is missing, a registry cannot be reached, or what it sends is not what was pinned.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not installed")
    made = kept_engine()
    if out.exists():
        shutil.rmtree(out)
    shutil.copytree(made, out)
    for file in (*HERE.glob("*.html"), *HERE.glob("*.css"), *HERE.glob("*.js"), HERE / "digits.txt"):
        shutil.copy(file, out)
    sys.path[:0] = [str(ROOT)]
    from bridge import Desk

    from derive.show.font import FAMILY, font_bytes
    from derive.show.html import STYLE

    (out / "math.woff2").write_bytes(font_bytes())
    face = f'@font-face {{ font-family: "{FAMILY}"; font-display: block; src: url(math.woff2) format("woff2"); }}\n'
    (out / "derivation.css").write_text(face + style(STYLE), encoding="utf-8")
    files = sorted((ROOT / "derive" / "networks" / "examples").glob("*.dv"))
    examples = {f.stem.replace("_", " "): plain(f.read_text(encoding="utf-8")) for f in files}
    text = examples["softmax regression"]
    answer = Desk().answer({"do": "derive", "way": "definitions", "text": text, "wrt": ""}, print)
    first = {"text": text, "answer": answer, "examples": examples}
    (out / "first.json").write_text(json.dumps(first), encoding="utf-8")
    named_version(out)


def named_version(out: Path) -> None:
    """The list of files and a name for all of them, into the script that keeps them for a time without a network."""
    script, seen = out / "offline.js", hashlib.sha256()
    files = sorted(f for f in out.iterdir() if f != script)
    for file in files:
        seen.update(file.name.encode() + file.read_bytes())
    text = script.read_text(encoding="utf-8").replace("VERSION", seen.hexdigest()[:16])
    script.write_text(text.replace('"FILES"', ", ".join(json.dumps(f.name) for f in files)), encoding="utf-8")


def plain(text: str) -> str:
    """A text without its comments."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("#")).strip()


def kept_engine() -> Path:
    """The folder of the engine's files, made if it is not there; one process makes it, and the two newest are kept."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = CACHE / key()
        if not made.exists():
            part = made.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            engine(part)
            part.rename(made)
            folders = sorted((f for f in CACHE.iterdir() if f.is_dir()), key=lambda f: f.stat().st_mtime)
            for old in folders[:-2]:
                shutil.rmtree(old)
    return made


def style(text: str) -> str:
    """The style of the documents, whose dark colours the page chooses itself."""
    light, dark = text.split("@media (prefers-color-scheme: dark)", 1)
    inside = dark[dark.index("{") + 1 : dark.index("} }") + 1].strip()
    return f"{light}\n:root[data-theme=dark] {inside}\n"


def key() -> str:
    """A name for all that the engine's files are made of."""
    seen = hashlib.sha256(repr(UNUSED).encode())
    for file in (*(HERE / name for name in ("packages.py", "snapshot.mjs", "bridge.py")), *own()):
        seen.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return seen.hexdigest()[:24]


def own() -> list[Path]:
    """The library's files that the browser needs: derive, and of numerics what writes source."""
    kept = [f for f in (ROOT / "derive").rglob("*") if f.suffix in (".py", ".dv")]
    kept += [f for f in (ROOT / "numerics" / "emit").rglob("*") if f.suffix in (".py", ".js")]
    kept += [ROOT / "numerics" / name for name in ("__init__.py", "errors.py", "files.py")]
    return sorted(f for f in kept if "__pycache__" not in f.parts)


def engine(out: Path) -> None:
    """The interpreter, the library and the memory of both once they have started."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        packed = packages(work)
        for name in ENGINE:
            (out / name).write_bytes(member(packed[PYODIDE[0]], name))
        editor(packed, out)
        with zipfile.ZipFile(work / "library.zip", "w") as library:
            for wheel in wheels(work):
                with zipfile.ZipFile(wheel) as source:
                    for name in source.namelist():
                        if name.endswith(".py") and not any(u in name for u in UNUSED):
                            library.writestr(name, source.read(name))
            for file in own():
                library.write(file, file.relative_to(ROOT))
            library.write(HERE / "bridge.py", "bridge.py")
        node = shutil.which("node") or "node"
        run([node, HERE / "snapshot.mjs", out, work / "library.zip", work], START)
        memory = io.BytesIO()
        with gzip.GzipFile(fileobj=memory, mode="wb", compresslevel=6, mtime=0) as file:
            file.write((work / "snapshot").read_bytes())
        shutil.copy(work / "compiled.zip", out / "library.zip")
        (out / "snapshot.gz").write_bytes(memory.getvalue())


class Files(http.server.SimpleHTTPRequestHandler):
    """A static host as others are: the types of modules and of WebAssembly, and files that a browser may keep."""

    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".gz": "application/octet-stream",
    }

    def log_message(self, format: str, *args: object) -> None:
        pass


def server(folder: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server of a folder on this machine, not yet serving."""
    handler = functools.partial(Files, directory=str(folder))
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    options.add_argument("out", type=Path)
    options.add_argument("--serve", action="store_true")
    options.add_argument("--port", type=int, default=8000)
    given = options.parse_args()
    try:
        build(given.out)
    except Unavailable as reason:
        print(f"playground: not made: {reason}", file=sys.stderr)
        return 1
    print(f"playground: {given.out / 'index.html'}")
    if given.serve:
        with server(given.out, given.port) as serving:
            print(f"http://127.0.0.1:{given.port}/  (Ctrl-C ends it)")
            try:
                serving.serve_forever()
            except KeyboardInterrupt:
                print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
