// A text area with the numbers of its lines, which marks a place: the line and, under the text, the column.
export class Editor {
  constructor(place, label, changed) {
    this.box = place;
    this.numbers = document.createElement("div");
    this.numbers.className = "numbers";
    this.numbers.ariaHidden = "true";
    this.marks = document.createElement("pre");
    this.marks.className = "marks";
    this.marks.ariaHidden = "true";
    this.area = document.createElement("textarea");
    Object.assign(this.area, {spellcheck: false, wrap: "off", autocapitalize: "off", autocomplete: "off"});
    this.area.setAttribute("aria-label", label);
    this.area.setAttribute("aria-describedby", "problem");
    const field = document.createElement("div");
    field.className = "field";
    field.append(this.marks, this.area);
    place.append(this.numbers, field);
    this.area.addEventListener("input", () => {
      this.mark(null);
      changed();
    });
    this.area.addEventListener("scroll", () => this.aligned());
  }

  get text() {
    return this.area.value;
  }

  set text(value) {
    this.area.value = value;
    this.mark(null);
  }

  aligned() {
    this.marks.scrollTop = this.area.scrollTop;
    this.marks.scrollLeft = this.area.scrollLeft;
    this.numbers.scrollTop = this.area.scrollTop;
  }

  // The mark stands behind the text, at a line and a column counted from 1.
  mark(line, column) {
    const lines = this.text.split("\n");
    this.area.rows = Math.max(6, Math.min(22, lines.length + 1));
    this.numbers.replaceChildren(
      ...lines.map((_, n) => {
        const one = document.createElement("span");
        one.textContent = n + 1;
        if (n + 1 === line) one.className = "wrong";
        return one;
      }),
    );
    this.marks.replaceChildren();
    this.area.setAttribute("aria-invalid", String(line !== null));
    if (line !== null && lines[line - 1] !== undefined) {
      const at = document.createElement("mark");
      const here = lines[line - 1], from = Math.max(0, Math.min((column ?? 1) - 1, here.length));
      at.textContent = here[from] ?? " ";
      this.marks.append([...lines.slice(0, line - 1), ""].join("\n") + here.slice(0, from), at, here.slice(from + 1) + "\n" + lines.slice(line).join("\n"));
    }
    this.aligned();
  }
}
