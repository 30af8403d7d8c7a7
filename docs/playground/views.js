// The four views of one derivation, which share the numbers of the equations and light up together.
const $ = (id) => document.getElementById(id);

// Numbers as the library writes them at the end of a line: "(7)", perhaps with what follows from where.
const NUMBER = /(?:#|\/\/|\s)\s?\((\d+)\)(?:\s+from [\d, ]+)?\s*$|^\s*\/\/ \((\d+)\)/;

export function article(place, html) {
  // the library's own document: names in it are escaped there, and the page's policy runs no script of it
  place.innerHTML = html;
  let last = null;
  for (const row of place.querySelectorAll(".eqs tr")) {
    const said = /^\((\d+)′?\)$/.exec(row.querySelector("td.num")?.textContent ?? "");
    row.removeAttribute("id");
    if (said) last = numbered(row, said[1]);
  }
  for (const link of place.querySelectorAll('a[href^="#eq-"]')) {
    const number = /^#eq-(\d+)/.exec(link.getAttribute("href"))?.[1];
    if (!number) link.removeAttribute("href");
    else numbered(link, number).removeAttribute("href");
  }
  return last;
}

function numbered(node, number) {
  node.dataset.eq = number;
  node.tabIndex = 0;
  return node;
}

export function program(place, source) {
  const lines = source.replace(/\n$/, "").split("\n");
  let inside = null; // the equation of the loops that follow, in JavaScript
  place.replaceChildren(
    ...lines.map((line) => {
      const div = document.createElement("div");
      div.textContent = line;
      const said = NUMBER.exec(line), number = said?.[1] ?? said?.[2];
      if (said?.[2]) inside = said[2];
      else if (/^\s*$|^ {2}return|^export|^}/.test(line)) inside = null;
      if (number) numbered(div, number);
      else if (inside) div.dataset.eq = inside;
      return div;
    }),
  );
}

export function row(list, {what, verdict, by, eq}) {
  const item = document.createElement("li");
  item.className = verdict;
  item.textContent = what;
  item.title = `${verdict}: ${by}`;
  item.setAttribute("aria-label", `${what}: ${verdict}`);
  if (eq) numbered(item, eq);
  list.append(item);
}

// Hovering or focusing an equation lights it everywhere; where its own line is in another view, that is shown above.
export function linked(root, peek) {
  const light = (number) => {
    for (const node of root.querySelectorAll(".lit")) node.classList.remove("lit");
    peek.hidden = true;
    if (!number) return;
    for (const node of root.querySelectorAll(`[data-eq="${CSS.escape(number)}"]`)) node.classList.add("lit");
    const line = [...root.querySelectorAll(`.derivation tr[data-eq="${CSS.escape(number)}"]`)].findLast((r) => r.querySelector("td.lhs")?.textContent);
    if (line && !line.closest('[role="tabpanel"]:not([hidden])')) {
      const table = document.createElement("table");
      const copy = line.cloneNode(true);
      copy.removeAttribute("tabindex");
      copy.className = "";
      table.append(copy);
      peek.replaceChildren(table);
      peek.hidden = false;
    }
  };
  const at = (event) => event.target.closest?.("[data-eq]")?.dataset.eq;
  root.addEventListener("pointerover", (event) => light(at(event)));
  root.addEventListener("focusin", (event) => light(at(event)));
  root.addEventListener("pointerleave", () => light(null));
}

// Tabs by click and by arrow keys, as the pattern for tabs has it.
export function tabs(list, chosen) {
  const all = [...list.querySelectorAll('[role="tab"]')];
  const choose = (tab, focus) => {
    for (const one of all) {
      const on = one === tab;
      one.setAttribute("aria-selected", on);
      one.tabIndex = on ? 0 : -1;
      $(one.getAttribute("aria-controls")).hidden = !on;
    }
    if (focus) tab.focus();
  };
  list.addEventListener("click", ({target}) => {
    const tab = target.closest('[role="tab"]');
    if (tab) {
      choose(tab);
      chosen(tab);
    }
  });
  list.addEventListener("keydown", (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    const tab = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    choose(tab, true);
    chosen(tab);
    event.preventDefault();
  });
  return choose;
}
