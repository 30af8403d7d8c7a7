// Starts the interpreter in Node, imports the library from compiled files, goes once through what the page asks, so that
// all it needs is imported and its tables are filled, and writes the interpreter's memory.
//   node snapshot.mjs ENGINE LIBRARY.zip OUT    ->  OUT/compiled.zip, OUT/snapshot
import {readFileSync, writeFileSync} from "node:fs";
import {pathToFileURL} from "node:url";

const [engine, library, out] = process.argv.slice(2);
const {loadPyodide} = await import(pathToFileURL(`${engine}/pyodide.mjs`));
const python = await loadPyodide({
  _makeSnapshot: true,
  lockFileContents: {info: {abi_version: "2026_0", arch: "wasm32", platform: "emscripten_5_0_3", python: "3.14.2", version: "314.0.7"}, packages: {}},
});
python.FS.writeFile("/library.zip", readFileSync(library));
python.runPython(`
import compileall, os, pathlib, py_compile, sys, zipfile

with zipfile.ZipFile("/library.zip") as given:
    given.extractall("/source")
os.remove("/library.zip")
with zipfile.ZipFile("/compiled.zip", "w", zipfile.ZIP_DEFLATED) as packed:
    for file in sorted(pathlib.Path("/source").rglob("*")):
        name = str(file.relative_to("/source"))
        if file.suffix == ".py" and file.parent.name != "helpers":  # those are read as text
            made = py_compile.compile(str(file), "/made.pyc", dfile=name, doraise=True,
                                      invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
            packed.write(made, name + "c")
        elif file.is_file():
            packed.write(file, name)
with zipfile.ZipFile("/compiled.zip") as packed:
    packed.extractall("/library")
sys.path.insert(0, "/library")
`);
writeFileSync(`${out}/compiled.zip`, python.FS.readFile("/compiled.zip"));
python.runPython(`
import importlib, json
from bridge import Desk

def answer(request, tell=lambda row: None):
    return desk.answer(request, tell)

desk = Desk()
network = {"do": "derive", "way": "network", "units": [4, 3], "activation": "tanh", "l1": 0.001, "l2": 0.001}
softmax = """x: float[b, i]
label: int[b] < K
W: float[i, k] parameter
z[b, k] = sum[i](x[b, i]*W[i, k])
lse[b] = log(sum[k](exp(z[b, k])))
loss = mean[b](lse[b] - z[b, label[b]])"""
for request in (
    {"do": "derive", "way": "formula", "text": "norm2(X*w - y)^2 + a'*inv(A)*b", "wrt": "", "hessian": False},
    {"do": "derive", "way": "formula", "text": "x'*A*x", "wrt": "x", "hessian": True},
    {"do": "derive", "way": "formula", "text": "x'*(A", "wrt": "x", "hessian": True},
    {"do": "derive", "way": "definitions", "text": "x: float[b", "wrt": ""},
    {**network, "loss": "hinge"},
    {**network, "loss": "sigmoid_binary_cross_entropy", "activation": "relu"},
    {"do": "derive", "way": "definitions", "text": softmax, "wrt": ""},
    {"do": "prove"},
    {"do": "plant", "step": 3},
):
    answer(request)
`);
writeFileSync(`${out}/snapshot`, python.makeMemorySnapshot());
