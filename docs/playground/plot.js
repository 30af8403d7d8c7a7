// Drawings of a training: the plane and its classes, the curve of the loss, the network with its weights as lines.
export const GRID = 48; // places a side, of the plane

const SVG = "http://www.w3.org/2000/svg";
const REACH = 6; // the plane goes from -REACH to REACH

export function gridPoints(side = GRID) {
  const x = new Float64Array(2 * side * side);
  for (let r = 0, p = 0; r < side; r++) {
    for (let c = 0; c < side; c++) {
      x[p++] = ((c + 0.5) / side * 2 - 1) * REACH;
      x[p++] = (1 - (r + 0.5) / side * 2) * REACH;
    }
  }
  return x;
}

const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim().match(/\w\w/g).map((two) => parseInt(two, 16));
const palette = () => ({paper: full("--paper"), one: colour("--one"), two: colour("--two")});
const full = (name) => {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return (text.length === 4 ? [...text.slice(1)].map((c) => c + c) : text.match(/\w\w/g)).map((two) => parseInt(two, 16));
};

// an image of one column of values over a grid; the middle is paper, the ends the two classes
function painted(values, units, unit, wide, high) {
  const image = new ImageData(wide, high), {paper, one, two} = palette();
  for (let p = 0; p < wide * high; p++) {
    const v = Math.tanh(values[p * units + unit]), to = v > 0 ? two : one, share = 0.75 * Math.abs(v);
    for (let k = 0; k < 3; k++) image.data[4 * p + k] = paper[k] + (to[k] - paper[k]) * share;
    image.data[4 * p + 3] = 255;
  }
  return image;
}

const small = (width = GRID, height = GRID) => Object.assign(document.createElement("canvas"), {width, height});

export function plane(canvas, values, training) {
  const context = canvas.getContext("2d"), {width} = canvas, drawn = small();
  drawn.getContext("2d").putImageData(painted(values, 1, 0, GRID, GRID), 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(drawn, 0, 0, width, width);
  const {x, label, count} = training.points, {paper, one, two} = palette();
  context.strokeStyle = `rgb(${paper})`;
  for (let b = 0; b < count; b++) {
    context.fillStyle = `rgb(${label[b] ? two : one})`;
    context.beginPath();
    context.arc((x[2 * b] / REACH + 1) * width / 2, (1 - x[2 * b + 1] / REACH) * width / 2, 3.2, 0, 7);
    context.fill();
    context.stroke();
  }
  canvas.setAttribute("aria-label", `The plane and ${count} points; ${training.errors} of them are on the wrong side`);
}

// the first of the digits held out, as they are read: a wrong one stands in a frame, with the digit that was said
export function sheet(canvas, training, z) {
  const context = canvas.getContext("2d"), {width} = canvas, {x, label} = training.points.held, {paper, two} = palette();
  const style = getComputedStyle(document.documentElement), side = 10, cell = width / side;
  context.clearRect(0, 0, width, width);
  for (let b = 0; b < side * side; b++) {
    const left = (b % side) * cell, top = Math.floor(b / side) * cell, said = training.said(z, b);
    for (let p = 0; p < 64; p++) {
      const share = x[64 * b + p];
      if (!share) continue;
      context.fillStyle = `rgb(${paper.map((v, k) => v + (two[k] - v) * share)})`;
      context.fillRect(left + 2 + (p % 8) * (cell - 4) / 8, top + 2 + Math.floor(p / 8) * (cell - 4) / 8, (cell - 4) / 8 + 0.4, (cell - 4) / 8 + 0.4);
    }
    if (said === label[b]) continue;
    context.strokeStyle = context.fillStyle = style.getPropertyValue("--bad");
    context.lineWidth = 1.5;
    context.strokeRect(left + 1, top + 1, cell - 2, cell - 2);
    context.font = "bold 11px sans-serif";
    context.fillText(said, left + cell - 9, top + 11);
  }
  const wrong = training.wrong(z, label).length;
  canvas.setAttribute("aria-label", `Digits held out: ${wrong} of ${label.length} are read wrongly`);
  return wrong;
}

export function curve(canvas, training) {
  const context = canvas.getContext("2d"), {width, height} = canvas, values = training.history.filter(Number.isFinite);
  const style = getComputedStyle(document.documentElement), most = Math.max(...values, 1e-9);
  context.clearRect(0, 0, width, height);
  context.strokeStyle = style.getPropertyValue("--accent");
  context.lineWidth = 1.6;
  context.beginPath();
  values.forEach((v, n) => {
    const at = [4 + (n / Math.max(values.length - 1, 1)) * (width - 8), height - 4 - (v / most) * (height - 22)];
    if (n) context.lineTo(...at);
    else context.moveTo(...at);
  });
  context.stroke();
  context.fillStyle = style.getPropertyValue("--soft");
  context.font = "11px sans-serif";
  context.fillText(`${most.toPrecision(3)} at most`, 6, 12);
  canvas.setAttribute("aria-label", `The loss over all points, now ${training.loss.toPrecision(3)}`);
}

function element(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [k, v] of Object.entries(attributes)) made.setAttribute(k, v);
  parent?.append(made);
  return made;
}

// a unit's mean value for the points of each class
function byClass({data, shape: [rows, units]}, label, classes) {
  const means = new Float64Array(classes * units), counts = new Float64Array(classes);
  for (let b = 0; b < rows; b++) {
    counts[label[b]]++;
    for (let u = 0; u < units; u++) means[label[b] * units + u] += data[b * units + u];
  }
  return means.map((v, n) => v / counts[Math.floor(n / units)]);
}

// The drawn network: made once a network, its lines and maps changed as it trains.  In the plane a unit's map is its value
// over the plane; of digits it is its weights, 8 x 8, in the first layer, and in the others a stripe for each digit.
export class Graph {
  constructor(place, made) {
    this.made = made;
    this.plane = made.sizes[0] === 2;
    const sizes = this.plane ? made.sizes : [1, ...made.sizes.slice(1)];
    const gap = 96, pitch = 36, most = Math.max(...sizes), width = (sizes.length - 1) * gap + 50, height = most * pitch + 14;
    this.svg = element("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `A network of ${made.sizes.join(", ")} units`});
    const at = (layer, unit) => [25 + layer * gap, 14 + (most - sizes[layer]) * pitch / 2 + unit * pitch + 12];
    this.lines = {};
    made.parameters.filter((p) => p.shape.length === 2).forEach(({name, shape: [inputs, to]}, layer) => {
      const lines = [], from = sizes[layer];
      for (let i = 0; i < from; i++) {
        for (let o = 0; o < to; o++) {
          const [x1, y1] = at(layer, i), [x2, y2] = at(layer + 1, o);
          const line = element("line", {x1: x1 + 13, y1, x2: x2 - 13, y2}, this.svg), all = from < inputs;
          lines.push({line, title: element("title", {}, line), at: i * to + o, step: to, all, label: all ? `${name}[:,${o}], root mean square` : `${name}[${i},${o}]`});
        }
      }
      this.lines[name] = lines;
    });
    this.maps = [];
    sizes.forEach((units, layer) => {
      for (let u = 0; u < units; u++) {
        const [x, y] = at(layer, u), name = made.maps[layer - 1] ?? made.output;
        const image = element("image", {x: x - 13, y: y - 13, width: 26, height: 26, preserveAspectRatio: "none"}, this.svg);
        element("rect", {x: x - 13, y: y - 13, width: 26, height: 26, rx: 3, class: "unit"}, this.svg);
        if (layer) this.maps.push({name, layer, units, u, image});
        else element("text", {x, y: y + 3}, this.svg).textContent = this.plane ? `x${u + 1}` : "8 × 8";
        if (layer === sizes.length - 1 && units > 1) element("text", {x: x + 19, y: y + 3}, this.svg).textContent = u;
      }
    });
    place.replaceChildren(this.svg);
  }

  weights(training) {
    for (const [name, lines] of Object.entries(this.lines)) {
      const {data} = training.parameters[name];
      for (const {line, title, at, step, all, label} of lines) {
        const w = all ? Math.sqrt(data.reduce((a, v, n) => a + (n % step === at ? v * v : 0), 0) * step / data.length) : data[at], size = Math.abs(w);
        line.setAttribute("class", w > 0 ? "plus" : "minus");
        line.setAttribute("stroke-width", Math.min(6, 0.3 + 2 * size).toFixed(2));
        line.setAttribute("stroke-opacity", Math.min(0.9, 0.15 + size / 2).toFixed(2));
        title.textContent = `${label} = ${w.toPrecision(3)}`;
      }
    }
  }

  // found: the values over the plane, or of all digits
  neurons(found, training) {
    const {label} = training.points, stripes = {};
    for (const {name, layer, units, u, image} of this.maps) {
      const [wide, high] = this.plane ? [GRID, GRID] : layer === 1 ? [8, 8] : [10, 1], canvas = small(wide, high);
      const values = this.plane ? found[name].data
        : layer === 1 ? training.parameters.dense_1_kernel.data
        : (stripes[name] ??= byClass(found[name], label, 10));
      canvas.getContext("2d").putImageData(painted(values, units, u, wide, high), 0, 0);
      image.setAttribute("href", canvas.toDataURL());
    }
  }
}
