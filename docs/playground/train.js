// Training by the derived equations: the modules that the library wrote are imported, and step by step called.
import {normal, points, random} from "./data.js";

// A module of the library's own making, as a file of this page's memory: imported, not evaluated from a string.
async function imported(source) {
  const address = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
  try {
    return Object.values(await import(address))[0];
  } finally {
    URL.revokeObjectURL(address);
  }
}

export const HISTORY = 2000;

export class Training {
  static async of(made, settings) {
    const t = new Training();
    Object.assign(t, {made, settings});
    t.gradient = await imported(made.gradient);
    t.forward = await imported(made.forward);
    t.update = await imported(made.updates[settings.optimizer].source);
    t.reset();
    return t;
  }

  reset() {
    const {data, noise, seed} = this.settings;
    this.points = points(data, noise, seed);
    this.uniform = random(seed + 7919);
    this.parameters = {};
    for (const {name, shape} of this.made.parameters) {
      const length = shape.reduce((a, b) => a * b, 1), values = new Float64Array(length);
      if (shape.length === 2) {
        const scale = Math.sqrt(2 / (shape[0] + shape[1])); // Glorot and Bengio 2010
        for (let p = 0; p < length; p++) values[p] = scale * normal(this.uniform);
      }
      this.parameters[name] = {shape, data: values};
    }
    this.kept = {};
    this.sizes = {};
    this.steps = 0;
    this.history = [];
    this.problem = "";
    this.measure();
  }

  targets(rows) {
    const low = this.made.signed ? -1 : 0;
    return Float64Array.from(rows, (b) => (this.points.first[b] ? 1 : low));
  }

  rows() {
    const {count} = this.points, wanted = Math.min(this.settings.batch, count);
    if (!this.order || this.order.length < wanted) {
      this.order = Array.from({length: count}, (_, b) => b);
      for (let b = count - 1; b > 0; b--) {
        const other = Math.floor(this.uniform() * (b + 1));
        [this.order[b], this.order[other]] = [this.order[other], this.order[b]];
      }
    }
    return this.order.splice(0, wanted);
  }

  inputs(rows) {
    const x = new Float64Array(2 * rows.length);
    rows.forEach((b, n) => x.set(this.points.x.subarray(2 * b, 2 * b + 2), 2 * n));
    return {x: {shape: [rows.length, 2], data: x}, y: {shape: [rows.length, 1], data: this.targets(rows)}, ...this.parameters};
  }

  step() {
    const {loss, grads} = this.gradient(this.inputs(this.rows()));
    const {constants, kept} = this.made.updates[this.settings.optimizer];
    const before = {};
    let finite = Number.isFinite(loss);
    for (const [name, {shape, data}] of Object.entries(this.parameters)) {
      const flat = {shape: [data.length]}, own = (this.kept[name] ??= {});
      for (const k of kept) before[`${k}_before`] = {...flat, data: own[k] ?? new Float64Array(data.length)};
      const after = this.update({
        ...constants, ...before, eta: this.settings.rate, n: this.steps,
        w: {...flat, data}, g: {...flat, data: grads[name].data},
      });
      for (const k of kept) own[k] = after[k].data;
      this.parameters[name] = {shape, data: after.after.data};
      this.sizes[name] = Math.sqrt(grads[name].data.reduce((a, g) => a + g * g, 0));
      finite &&= Number.isFinite(this.sizes[name]);
    }
    this.steps++;
    if (!finite) this.problem = "The loss is no longer a number: the gradients explode. Take a smaller learning rate and reset.";
  }

  // loss and errors over all points, one of the curve's values
  measure() {
    const all = Array.from({length: this.points.count}, (_, b) => b);
    this.loss = this.gradient(this.inputs(all)).loss;
    const found = this.values(this.points.x);
    const z = found[this.made.output].data;
    this.errors = all.filter((b) => z[b] > 0 !== (this.points.first[b] === 1)).length;
    this.history.push(this.loss);
    if (this.history.length > HISTORY) this.history = this.history.filter((_, n) => n % 2 === 0);
    this.diagnosed(found);
  }

  values(x) {
    return this.forward({x: {shape: [x.length / 2, 2], data: x}, ...this.parameters});
  }

  // dead and vanishing, in the words of trainer.diagnose()
  diagnosed(found) {
    this.remarks = this.problem ? [this.problem] : [];
    for (const name of this.made.maps) {
      const {shape: [rows, units], data} = found[name];
      const dead = [];
      for (let u = 0; u < units; u++) {
        let least = Infinity, most = -Infinity;
        for (let b = 0; b < rows; b++) {
          least = Math.min(least, data[b * units + u]);
          most = Math.max(most, data[b * units + u]);
        }
        if (most - least < 1e-9) dead.push(u + 1);
      }
      if (dead.length) this.remarks.push(`${name}: ${dead.length} of ${units} units are dead, the same for every point (${dead.join(", ")}).`);
    }
    const kernels = Object.entries(this.sizes).filter(([name]) => name.endsWith("_kernel"));
    if (kernels.length > 1 && this.loss > 0.05) {
      const [first, last] = [kernels[0][1], kernels.at(-1)[1]];
      if (first < 1e-4 * last) this.remarks.push(`The gradient vanishes: at the first layer it is ${(first / last).toExponential(1)} of that at the last.`);
    }
  }
}
