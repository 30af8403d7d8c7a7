// Training by the derived equations: the modules that the library wrote are imported, and step by step called.
import {digits, normal, points, random} from "./data.js";
import {diagnosed} from "./diagnosis.js";

// A module of the library's own making, as a file of this page's memory: imported, not evaluated from a string.
export async function imported(source) {
  const address = URL.createObjectURL(new Blob([source], {type: "text/javascript"}));
  try {
    return Object.values(await import(address))[0];
  } finally {
    URL.revokeObjectURL(address);
  }
}

export const HISTORY = 2000;
const size = (values) => Math.sqrt(values.reduce((a, v) => a + v * v, 0));

export class Training {
  static async of(made, settings) {
    const t = new Training();
    Object.assign(t, {made, settings});
    [t.gradient, t.forward, t.everything, t.slopes, t.update] = await Promise.all([
      imported(made.gradient), imported(made.forward), imported(made.values),
      made.slopes ? imported(made.slopes) : () => ({}), imported(made.updates[settings.optimizer].source),
    ]);
    t.points = settings.data === "digits" ? await digits() : points(settings.data, settings.noise, settings.seed);
    t.reset();
    return t;
  }

  get classes() {
    return this.made.sizes.at(-1);
  }

  reset() {
    this.uniform = random(this.settings.seed + 7919);
    this.order = null;
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
    this.steps = 0;
    this.history = [];
    this.remarks = [];
    this.broken = false;
    this.measure();
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

  // some of the points: what goes in, and the labels as the loss reads them
  inputs(rows) {
    const {x, width, label} = this.points, given = new Float64Array(width * rows.length);
    rows.forEach((b, n) => given.set(x.subarray(width * b, width * (b + 1)), width * n));
    const many = this.classes > 1, low = this.made.signed ? -1 : 0;
    const y = Float64Array.from(rows, (b) => (many || label[b] ? label[b] : low));
    return {x: {shape: [rows.length, width], data: given}, y: {shape: many ? [rows.length] : [rows.length, 1], data: y}, ...this.parameters};
  }

  step() {
    const inputs = this.inputs(this.rows());
    const {loss, grads} = this.gradient(inputs);
    if (![loss, ...Object.values(grads).map(({data}) => size(data))].every(Number.isFinite)) {
      this.remarks = diagnosed(this.made, this.everything(inputs).values, inputs, this.slopes);
      this.broken = true; // what follows would be computed from numbers that are none
      return;
    }
    const {constants, kept} = this.made.updates[this.settings.optimizer], before = {};
    for (const [name, {shape, data}] of Object.entries(this.parameters)) {
      const flat = {shape: [data.length]}, own = (this.kept[name] ??= {});
      for (const k of kept) before[`${k}_before`] = {...flat, data: own[k] ?? new Float64Array(data.length)};
      const after = this.update({
        ...constants, ...before, eta: this.settings.rate, n: this.steps,
        w: {...flat, data}, g: {...flat, data: grads[name].data},
      });
      for (const k of kept) own[k] = after[k].data;
      this.parameters[name] = {shape, data: after.after.data};
    }
    this.steps++;
  }

  // every equation over all points: the loss, one of the curve's values, errors, sizes of the adjoints, what is wrong
  measure() {
    const all = Array.from({length: this.points.count}, (_, b) => b), inputs = this.inputs(all);
    this.found = this.everything(inputs).values;
    this.loss = (this.found.loss.data ?? [this.found.loss])[0];
    this.sizes = {};
    for (const {name, of} of this.made.equations) if (of) this.sizes[name] = size(this.found[name].data ?? [this.found[name]]);
    this.errors = this.wrong(this.found[this.made.output].data, this.points.label).length;
    if (this.broken) return;
    this.history.push(this.loss);
    if (this.history.length > HISTORY) this.history = this.history.filter((_, n) => n % 2 === 0);
    this.remarks = diagnosed(this.made, this.found, inputs, this.slopes);
  }

  // the points that an output says the wrong class of
  wrong(z, label) {
    const found = [];
    for (let b = 0; b < label.length; b++) if (this.said(z, b) !== label[b]) found.push(b);
    return found;
  }

  said(z, b) {
    const k = this.classes;
    if (k === 1) return Number(z[b] > 0);
    let best = 0;
    for (let c = 1; c < k; c++) if (z[b * k + c] > z[b * k + best]) best = c;
    return best;
  }

  values(x) {
    const {width} = this.points;
    return this.forward({x: {shape: [x.length / width, width], data: x}, ...this.parameters});
  }
}
