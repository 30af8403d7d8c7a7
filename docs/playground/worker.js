// The interpreter, apart from the page: starts from the kept memory, answers one request at a time.
import {loadPyodide} from "./pyodide.mjs";
import createModule from "./pyodide.asm.mjs";

const bytes = async (name) => {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response;
};

const unpacked = async (name) => {
  const stream = (await bytes(name)).body.pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};

// The memory of the interpreter starts small and is made as large as the one that was kept, before that is put in its place.
const roomFor = (length) => async (settings) => {
  const module = await createModule(settings);
  if (module.HEAP8.length < length) module._free(module._malloc(length));
  return module;
};

async function start() {
  const [snapshot, library] = await Promise.all([
    unpacked("snapshot.gz"),
    bytes("library.zip").then((response) => response.arrayBuffer()),
  ]);
  const python = await loadPyodide({
    _loadSnapshot: snapshot,
    createPyodideModule: roomFor(snapshot.length),
    lockFileContents: {info: {abi_version: "2026_0", arch: "wasm32", platform: "emscripten_5_0_3", python: "3.14.2", version: "314.0.7"}, packages: {}},
  });
  python.unpackArchive(library, "zip", {extractDir: "/library"});
  // A request comes as text and an answer goes as text: nothing of either is ever run.
  const answer = python.runPython(`
def answered(text, tell):
    return json.dumps(answer(json.loads(text), lambda row: tell(json.dumps(row))))
answered`);
  self.onmessage = ({data: {id, request}}) => {
    try {
      const told = (row) => self.postMessage({id, row: JSON.parse(row)});
      self.postMessage({id, answer: JSON.parse(answer(JSON.stringify(request), told))});
    } catch (error) {
      self.postMessage({id, answer: {error: String(error.message).trim().split("\n").slice(-1)[0], kind: "the engine"}});
    }
  };
  self.postMessage({ready: true});
}

start().catch((error) => self.postMessage({failed: String(error?.message ?? error)}));
