// What is wrong with a network on its points, by the rules and in the words of trainer.diagnose() (numerics/training/diagnosis.py).
const FLAT = 1e-3, FAINT = 1e-6;

const numbers = (value) => value.data ?? [value];
const rms = (values) => Math.sqrt(values.reduce((a, v) => a + v * v, 0) / values.length);
const place = (name, {shape = []}, n) => {
  const at = shape.map((_, axis) => Math.floor(n / shape.slice(axis + 1).reduce((a, b) => a * b, 1)) % shape[axis]);
  return at.length ? `${name}[${at.join(", ")}]` : name;
};

// Findings as {text, eq}, from the values of all equations, in their order, and of the inputs.
export function diagnosed(made, values, inputs, slopes) {
  const bad = notFinite(made, values, inputs);
  return bad ? [bad] : [...gates(made, values, slopes), ...vanishing(made, values, inputs)];
}

// Equations stand in the order in which they are computed: the first that is not finite reads only what is.  An infinity
// that reaches neither the loss nor a gradient, as behind a softplus, is none of their business.
function notFinite(made, values, inputs) {
  const ends = made.equations.filter(({name, of}) => name === "loss" || inputs[of]);
  if (ends.every(({name}) => numbers(values[name]).every(Number.isFinite))) return null;
  const told = (name, value, how) => {
    const n = numbers(value).findIndex((v) => !Number.isFinite(v));
    return n < 0 ? null : `${place(name, value, n)} is ${numbers(value)[n]} ${how}`;
  };
  for (const {name} of made.parameters) {
    const said = told(name, inputs[name], "already before this step; look at the step before");
    if (said) return {eq: 0, text: `not finite: ${name.replace(/_[^_]*$/, "")}: ${said}`};
  }
  for (const {name, eq, layer} of made.equations) {
    const said = told(name, values[name], "where all that it reads is finite");
    if (said) return {eq, text: `not finite: ${layer}: at equation (${eq}) ${said}. Lower the learning rate, clip the gradients, or scale the inputs; then reset.`};
  }
  return null;
}

// units through which nothing passes back: the local derivative is (nearly) zero for every point
function gates(made, values, slopes) {
  if (!made.gates.length) return [];
  const given = Object.fromEntries(made.equations.filter(({of}) => !of).map(({name}) => [name, values[name]]));
  const found = [], all = slopes(given);
  for (const {slope, layer, eq, text} of made.gates) {
    const {shape, data} = all.data ? all : all[slope], units = shape.at(-1), most = new Float64Array(units);
    data.forEach((v, n) => (most[n % units] = Math.max(most[n % units], v)));
    const term = text.length < 60 ? text : "the slope";
    const which = (hit) => [...most.keys()].filter((u) => hit(most[u]));
    const said = (kind, hit, why) => hit.length && found.push({eq, text: `${kind}: ${layer}: ${hit.length} of ${units} units (${hit.join(", ")}): ${term} ${why} (equation ${eq}).`});
    said("dead", which((v) => v === 0), "is 0 for every point, so nothing passes back: lower the learning rate, start the biases above 0, or use an activation with a slope on both sides");
    const flat = which((v) => v > 0 && v < FLAT);
    said("saturated", flat, `is at most ${Math.max(0, ...flat.map((u) => most[u])).toExponential(1)}: scale the inputs or start from smaller weights`);
  }
  return found;
}

// layers whose gradient is next to nothing beside the largest and beside their weights
function vanishing(made, values, inputs) {
  const sizes = {}, weights = {}, first = {}, adjoint = Object.fromEntries(made.equations.map((one) => [one.of, one]));
  for (const {name: parameter} of made.parameters) {
    const {name, layer, eq} = adjoint[parameter];
    sizes[layer] = Math.max(sizes[layer] ?? 0, rms(numbers(values[name])));
    weights[layer] = Math.max(weights[layer] ?? 0, rms(inputs[parameter].data));
    first[layer] ??= eq;
  }
  const top = Math.max(0, ...Object.values(sizes));
  return Object.keys(sizes)
    .filter((layer) => sizes[layer] <= FAINT * Math.min(top, weights[layer]))
    .map((layer) => ({eq: first[layer], text: `vanishing: ${layer}: its gradient is ${sizes[layer].toExponential(1)} (root mean square), the largest of any layer ${top.toExponential(1)} (equation ${first[layer]}): use another activation or initializer, a normalization, or a way past (a residual).`}));
}
