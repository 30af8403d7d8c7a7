// The network's pane: its controls, and the loop that trains and draws.
import {Graph, curve, gridPoints, plane, sheet} from "./plot.js";
import {Training} from "./train.js";

const $ = (id) => document.getElementById(id);
const FRAME = 12; // milliseconds of a frame that may be spent on steps
const MAPS = 6; // frames between two drawings of the units' maps, while it runs

export class Trainer {
  constructor() {
    this.grid = gridPoints();
    this.running = false;
    this.frames = 0;
    $("run").addEventListener("click", () => (this.running ? this.pause() : this.run()));
    $("step").addEventListener("click", () => {
      this.pause();
      this.steps(1);
      this.draw();
    });
    $("reset").addEventListener("click", () => {
      this.pause();
      this.training?.reset();
      this.draw();
    });
  }

  async show(made, settings) {
    this.pause();
    this.made = made;
    this.training = await Training.of(made, settings);
    this.graph = new Graph($("graph"), made);
    const body = $("sizes").tBodies[0];
    this.cells = {};
    body.replaceChildren(
      ...made.equations.filter(({of}) => of).map(({name, eq}) => {
        const row = document.createElement("tr"), cells = [`(${eq})`, name, "–"].map((text) => Object.assign(document.createElement("td"), {textContent: text}));
        row.dataset.eq = eq;
        row.tabIndex = 0;
        row.append(...cells);
        this.cells[name] = cells[2];
        return row;
      }),
    );
    $("training").hidden = false;
    this.draw();
  }

  // settings that leave the derivation as it is
  async change(settings) {
    if (!this.made) return;
    const again = ["data", "noise", "seed", "optimizer"].some((k) => settings[k] !== this.training.settings[k]);
    if (again) await this.show(this.made, settings);
    else this.training.settings = settings;
  }

  hide() {
    this.pause();
    this.made = null;
    $("training").hidden = true;
  }

  run() {
    if (!this.training) return;
    this.running = true;
    $("run").textContent = "Pause";
    const frame = () => {
      if (!this.running) return;
      const end = performance.now() + FRAME;
      let done = 0;
      do this.steps(1);
      while (++done < 10 && performance.now() < end && this.running);
      this.draw();
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  pause() {
    this.running = false;
    $("run").textContent = "Run";
  }

  steps(count) {
    for (let n = 0; n < count && !this.training.broken; n++) this.training.step();
    if (this.training.broken) this.pause();
  }

  draw() {
    const {training} = this;
    if (!training) return;
    training.measure();
    const {held, count} = training.points, found = training.values(held ? held.x : this.grid), z = found[training.made.output].data;
    this.frames = (this.frames + 1) % MAPS;
    if (!held) plane($("boundary"), z, training);
    const wrong = held && sheet($("boundary"), training, z);
    $("seen").textContent = held ? "Digits held out; framed where they are read wrongly" : "Where the network says which class";
    curve($("curve"), training);
    this.graph.weights(training);
    if (!this.running || this.frames === 0) this.graph.neurons(held ? training.found : found, training);
    const {steps, loss, errors} = training;
    $("progress").textContent = `step ${steps}, loss ${loss.toPrecision(3)}, ${errors} of ${count} wrong${held ? `, ${wrong} of ${held.count} held out` : ""}`;
    for (const [name, cell] of Object.entries(this.cells)) cell.textContent = training.sizes[name].toExponential(2);
    const remarks = JSON.stringify(training.remarks);
    if (remarks !== this.remarks) {
      this.remarks = remarks;
      $("remarks").replaceChildren(...training.remarks.map(({text, eq}) => {
        const item = Object.assign(document.createElement("li"), {textContent: text});
        if (eq) item.dataset.eq = eq;
        return item;
      }));
    }
  }
}
