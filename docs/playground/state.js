// The state of the page in its address: plain values, each checked, with a sum that tells a cut or changed address.
export const DEFAULTS = {
  way: "definitions",
  view: "derivation",
  text: "",
  wrt: "",
  formula: "norm2(X*w - y)^2 + lam*norm2(w)^2",
  by: "w",
  hessian: false,
  units: [4, 4],
  activation: "tanh",
  loss: "sigmoid_binary_cross_entropy",
  l1: 0,
  l2: 0,
  data: "xor",
  noise: 0.1,
  batch: 20,
  rate: 0.03,
  optimizer: "adam",
  seed: 1,
};

const ONE_OF = {
  way: ["formula", "definitions", "network"],
  view: ["definitions", "derivation", "program", "evidence"],
  activation: ["tanh", "relu", "sigmoid", "linear", "softplus", "gelu_tanh", "silu", "elu"],
  loss: ["sigmoid_binary_cross_entropy", "mean_squared_error", "hinge", "squared_hinge"],
  data: ["circle", "xor", "gauss", "spiral", "digits"],
  optimizer: ["sgd", "adam"],
};
const NUMBERS = {l1: [0, 1], l2: [0, 1], noise: [0, 0.5], batch: [1, 200], rate: [1e-5, 10], seed: [0, 2 ** 31]};
const TEXTS = {text: 20_000, wrt: 200, formula: 2_000, by: 200};

function right(name, value) {
  if (Object.hasOwn(ONE_OF, name)) return ONE_OF[name].includes(value);
  if (Object.hasOwn(NUMBERS, name)) {
    const [least, most] = NUMBERS[name];
    return typeof value === "number" && value >= least && value <= most && (!["batch", "seed"].includes(name) || Number.isInteger(value));
  }
  if (Object.hasOwn(TEXTS, name)) return typeof value === "string" && value.length <= TEXTS[name];
  if (name === "hessian") return typeof value === "boolean";
  return name === "units" && Array.isArray(value) && value.length <= 4 && value.every((u) => Number.isInteger(u) && u >= 1 && u <= 16);
}

// FNV-1a: tells accidents, it is no secret
function sum(text) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash.toString(36);
}

const packed = (text) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(text))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const unpacked = (text) =>
  new TextDecoder("utf-8", {fatal: true}).decode(
    Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0)),
  );

export function written(state) {
  const text = packed(JSON.stringify(Object.fromEntries(Object.entries(state).filter(([k, v]) => JSON.stringify(v) !== JSON.stringify(DEFAULTS[k])))));
  return `#1.${text}.${sum(text)}`;
}

// The state that an address says, or in words why nothing of it is used.
export function read(hash) {
  if (!hash || hash === "#") return {state: {...DEFAULTS}};
  const refused = (why) => ({state: {...DEFAULTS}, problem: `This link ${why}; nothing of it was used.`});
  const parts = hash.slice(1).split(".");
  if (parts.length !== 3 || parts[0] !== "1") return refused("was cut, or is none of this page");
  if (sum(parts[1]) !== parts[2]) return refused("was cut or changed on its way");
  let found;
  try {
    found = JSON.parse(unpacked(parts[1]));
  } catch {
    return refused("cannot be read");
  }
  if (found === null || typeof found !== "object" || Array.isArray(found)) return refused("cannot be read");
  for (const [name, value] of Object.entries(found)) {
    if (!right(name, value)) return refused(`says something of ${JSON.stringify(name.slice(0, 20))} that this page does not have`);
  }
  return {state: {...DEFAULTS, ...found}};
}
