// The page: what is asked for, from its address or by hand, and what the library answers.
import {Editor} from "./editor.js";
import {Engine, Stopped} from "./engine.js";
import {FORMULAS} from "./examples.js";
import {DEFAULTS, read, written} from "./state.js";
import {Trainer} from "./trainer.js";
import {article, linked, program, row, tabs} from "./views.js";

const $ = (id) => document.getElementById(id);
const WAIT = 120; // milliseconds after the last key
const ENDINGS = {jax: ".py", javascript: ".js", script: "_derived.py", notebook: ".ipynb", written: ".txt"};
const RETRAIN = ["data", "noise", "seed", "batch", "rate", "optimizer"]; // these leave the derivation as it is
const {state, problem} = read(location.hash);
const trainer = new Trainer();

const notice = (text) => {
  $("notice").hidden = !text;
  $("notice").textContent = text;
};
if (problem) notice(problem);

let answer = null, timer = null, asked = 0, again = false, engine = null, examples = {};
const formula = new Editor($("formula"), "A formula in matrix notation", () => edited({formula: formula.text}));
const definitions = new Editor($("definitions"), "Definitions in index notation", () => edited({text: definitions.text}));
const way = tabs($("ways"), (tab) => {
  changed({way: tab.dataset.way});
  $("problem").hidden = $("answers").hidden = true;
  derive();
});
const view = tabs($("tabs"), (tab) => changed({view: tab.dataset.view}));
linked(document.body, $("peek"));

function changed(values) {
  Object.assign(state, values);
  history.replaceState(null, "", written(state));
}

function edited(values) {
  changed(values);
  clearTimeout(timer);
  timer = setTimeout(derive, WAIT);
}

// -- asking ---------------------------------------------------------------------------------------------------------

function request() {
  const {way, text, wrt, formula, by, hessian, units, activation, loss, l1, l2, data} = state;
  if (way === "formula") return {do: "derive", way, text: formula, wrt: by, hessian};
  if (way === "definitions") return {do: "derive", way, text, wrt};
  return {do: "derive", way, units, activation, loss, l1, l2, digits: data === "digits"};
}

async function derive() {
  clearTimeout(timer);
  if (!engine) return;
  const one = ++asked;
  again = document.body.dataset.engine !== "ready"; // then the newest is asked for once it is
  if (again) return;
  if (state.way !== "network") trainer.hide();
  let found;
  try {
    // a formula's result comes before its documents are written
    found = await engine.ask(request(), (early) => one === asked && results(early));
  } catch (error) {
    if (one === asked) refused({error: error instanceof Stopped ? `${error.message}: press a key in the text to ask again` : String(error.message)});
    return;
  }
  if (one !== asked) return;
  if (found.error) return refused(found);
  document.body.dataset.held = "yes";
  await show(found);
}

function refused({error, line = null, column = null}) {
  $("problem").hidden = false;
  $("problem").textContent = error;
  $("answers").hidden = true;
  const editor = {formula, definitions}[state.way];
  if (editor) editor.mark(line, column, error);
  document.body.dataset.done = "refused";
}

async function show(found) {
  answer = found;
  $("problem").hidden = true;
  ({formula, definitions})[state.way]?.mark(null);
  article($("view-definitions").querySelector("article"), found.definitions);
  article($("view-derivation").querySelector("article"), found.derivation);
  unfold(false);
  program($("code"), found[$("language").value]);
  $("steps").replaceChildren(...found.steps.map(({id, rule, target}) => new Option(`${id}: ${rule}, ${target}`, id)));
  $("steps").value = found.steps[Math.min(found.steps.length - 1, 3)]?.id ?? "";
  clearEvidence();
  results(found);
  if (found.training) await trainer.show(found.training, {...state});
  document.body.dataset.done = "shown";
}

// a formula's derivatives in closed form, and under them the equations of which they are made
function results({closed, matrix, given}) {
  $("answers").hidden = !closed;
  if (!closed) return;
  const list = document.createElement("dl"), told = document.createElement("p"), copy = document.createElement("button");
  for (const {name, text, why} of closed) {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = text ? `= ${text}` : why;
    dt.className = dd.className = text ? "result" : "hint";
    list.append(dt, dd);
  }
  told.className = "hint";
  told.textContent = `where ${Object.entries(given).map(([n, s]) => `${n}: ${s}`).join(", ")}; as computed:`;
  const equations = document.createElement("pre");
  equations.textContent = matrix;
  copy.textContent = "Copy LaTeX";
  copy.type = "button";
  const latex = closed.filter((one) => one.latex).map((one) => one.latex).join("\n");
  copy.addEventListener("click", () => copied(latex, copy));
  $("answers").replaceChildren(list, copy, told, equations);
}

// -- evidence -------------------------------------------------------------------------------------------------------

function clearEvidence() {
  $("rows").replaceChildren();
  $("refutation").hidden = true;
  $("verdict").textContent = "";
  $("verdict").className = "";
  $("plant").checked = false;
}

async function prove() {
  const step = Number($("steps").value), plant = $("plant").checked;
  clearEvidence();
  $("plant").checked = plant;
  let found;
  try {
    if (document.body.dataset.held !== "yes") { // shown from the build, or the engine is a new one
      const held = await engine.ask(request());
      if (held.error) return refused(held);
      document.body.dataset.held = "yes";
    }
    found = await engine.ask(plant ? {do: "plant", step} : {do: "prove"}, (one) => row($("rows"), one));
  } catch (error) {
    $("verdict").textContent = String(error.message);
    return;
  }
  if (found.error) {
    $("verdict").textContent = found.error;
    return;
  }
  const {proved, undecided, refuted} = found.counts;
  $("verdict").className = refuted ? "refuted" : found.proved ? "proved" : "";
  $("verdict").textContent = refuted
    ? `Refuted: ${refuted} of ${proved + undecided + refuted} statements fail.`
    : `${proved} statements proved, ${undecided} undecided, in ${found.seconds.toFixed(2)} s.`;
  $("refutation").hidden = !refuted;
  $("refutation").textContent = [found.planted, found.refutation].filter(Boolean).join("\n\n");
}

// -- controls -------------------------------------------------------------------------------------------------------

async function copied(text, button) {
  const {textContent} = button;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "The browser does not allow it";
  }
  setTimeout(() => (button.textContent = textContent), 1500);
}

function unfold(open) {
  $("unfold").setAttribute("aria-pressed", open);
  for (const one of $("view-derivation").querySelectorAll("details")) one.open = open;
}

function filled(select, values) {
  select.replaceChildren(new Option("choose", ""), ...Object.keys(values).map((name) => new Option(name, name)));
}

function shownState() {
  way($(`way-${state.way}`));
  view($(`tab-${state.view}`));
  formula.text = state.formula;
  definitions.text = state.text;
  for (const name of ["by", "wrt", "activation", "loss", "data", "noise", "seed", "batch", "rate", "optimizer", "l1", "l2"]) $(name).value = state[name];
  $("hessian").checked = state.hessian;
  $("units").value = state.units.join(", ");
  chosenData();
}

// digits have their own loss, and come as they are
function chosenData() {
  $("loss").disabled = $("noise").disabled = state.data === "digits";
}

function controls() {
  for (const name of ["by", "wrt"]) $(name).addEventListener("input", () => edited({[name]: $(name).value}));
  $("hessian").addEventListener("change", () => edited({hessian: $("hessian").checked}));
  for (const name of ["activation", "loss", "l1", "l2"]) {
    $(name).addEventListener("change", () => {
      changed({[name]: name.startsWith("l") && name !== "loss" ? Number($(name).value) : $(name).value});
      derive();
    });
  }
  $("units").addEventListener("change", () => {
    const units = $("units").value.split(/[\s,]+/).filter(Boolean).map(Number);
    if (units.length > 4 || !units.every((u) => Number.isInteger(u) && u >= 1 && u <= 16)) {
      return refused({error: `hidden units ${$("units").value}: give up to 4 numbers from 1 to 16, as in  8, 8`});
    }
    changed({units});
    derive();
  });
  for (const name of RETRAIN) {
    $(name).addEventListener("change", () => {
      const given = $(name).value, value = $(name).type === "number" || ["noise", "batch", "rate"].includes(name) ? Number(given) : given;
      const other = name === "data" && (value === "digits") !== (state.data === "digits"); // another loss, other inputs
      changed({[name]: name === "seed" ? Math.max(0, Math.floor(value) || 0) : value});
      chosenData();
      if (other) derive();
      else trainer.change({...state});
    });
  }
  $("examples").addEventListener("change", ({target}) => {
    if (target.value) {
      definitions.text = examples[target.value];
      $("wrt").value = "";
      edited({text: definitions.text, wrt: ""});
    }
  });
  $("formulas").addEventListener("change", ({target}) => {
    if (target.value) {
      [formula.text, $("by").value] = FORMULAS[target.value];
      edited({formula: formula.text, by: $("by").value});
    }
  });
  $("language").addEventListener("change", () => answer && program($("code"), answer[$("language").value]));
  $("copy").addEventListener("click", () => answer && copied(answer[$("language").value], $("copy")));
  $("tex").addEventListener("click", () => answer && copied(answer.tex, $("tex")));
  $("download").addEventListener("click", () => {
    if (!answer) return;
    const kind = $("language").value, link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([answer[kind]], {type: "text/plain"}));
    link.download = `${answer.name}${ENDINGS[kind]}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  $("unfold").addEventListener("click", () => unfold($("unfold").getAttribute("aria-pressed") !== "true"));
  $("prove").addEventListener("click", prove);
  $("plant").addEventListener("change", prove);
  $("steps").addEventListener("change", () => $("plant").checked && prove());
  $("stop").addEventListener("click", () => engine.stop());
  $("share").addEventListener("click", () => {
    changed({});
    copied(location.href, $("share"));
  });
  $("theme").addEventListener("click", () => {
    themed(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    trainer.draw();
  });
  addEventListener("hashchange", () => location.reload());
}

function themed(name) {
  document.documentElement.dataset.theme = name;
}

// -- the start ------------------------------------------------------------------------------------------------------

function missing() {
  if (typeof WebAssembly !== "object") return "WebAssembly";
  if (typeof Worker !== "function") return "workers";
  return typeof DecompressionStream === "function" ? "" : "decompression streams";
}

async function start() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  themed(dark.matches ? "dark" : "light");
  controls();
  const first = await (await fetch("first.json")).json();
  ({examples} = first);
  filled($("examples"), examples);
  filled($("formulas"), FORMULAS);
  DEFAULTS.text = first.text;
  state.text ||= first.text;
  shownState();
  const known = state.way === "definitions" && state.text === first.text && !state.wrt;
  if (known) await show(first.answer);
  performance.mark("first view");
  const lacks = missing();
  if (lacks) {
    $("engine").textContent = "not here";
    return notice(`This browser has no ${lacks}, which the page computes with. In a copy of the library:  pip install .  and then  derive show softmax_regression`);
  }
  engine = new Engine((what) => {
    $("engine").textContent = what;
    $("stop").disabled = what !== "working";
    if (what === "starting") document.body.dataset.held = "no";
    document.body.dataset.engine = what;
    $("views").ariaBusy = what === "working";
    if (what === "ready" && again) queueMicrotask(derive);
  });
  engine.ready.then(kept, () => {});
  if (!known) await derive();
}

// Once all is here, it is kept for the next time, which then needs no network.
function kept() {
  performance.mark("engine ready");
  navigator.serviceWorker?.register(new URL("offline.js", import.meta.url)).catch(() => {}); // the page works without it
}

start();
