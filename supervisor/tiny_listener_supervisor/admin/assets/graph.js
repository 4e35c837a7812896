// Graphs: curves over the last minutes, in an <svg>.

const SVG = "http://www.w3.org/2000/svg";
const [LEFT, TOP, BOTTOM] = [52, 8, 16];

function make(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// The least height of a scale that has room for `n`, of those that are easy to read.
function ceiling(n, unit) {
  if (!(n > unit)) return unit;
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 1.5, 2, 3, 4, 6, 8, 10].map((step) => step * power).find((step) => step >= n * 0.999999);
}

// A number at a scale, without the zeros that its text ends with.
function short(text) {
  return text.replace(/(\.\d*?)0+(?=\s|$)/, "$1").replace(/\.(?=\s|$)/, "");
}

class Graph {
  // curves: [{ key, name, color, area }]; text writes a number; unit is the least height of the scale.
  constructor(figure, curves, text, unit) {
    this.figure = figure;
    this.svg = figure.querySelector("svg");
    this.legend = figure.querySelector(".legend");
    this.curves = curves;
    this.text = text;
    this.unit = unit;
    this.name = this.svg.getAttribute("aria-label");
    this.pointer = null;
    this.svg.addEventListener("pointermove", (event) => { this.pointer = event.offsetX; this.redraw(); });
    this.svg.addEventListener("pointerleave", () => { this.pointer = null; this.redraw(); });
    new ResizeObserver(() => this.redraw()).observe(this.svg);
    this.labels = curves.map(({ name, color }) => {
      const label = document.createElement("span");
      const swatch = document.createElement("i");
      swatch.className = color;
      const value = document.createElement("span");
      label.append(swatch, value);
      this.legend.append(label);
      return { name, value };
    });
    this.when = document.createElement("span");
    this.legend.append(this.when);
    this.draw([], [], Date.now());
  }

  draw(points, marks, now) {
    Object.assign(this, { points, marks, now });
    this.redraw();
  }

  redraw() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (width === 0) return;
    const finite = (n) => (n === Infinity ? 10 : n);
    const values = this.points.flatMap((point) => this.curves.map(({ key }) => finite(point[key]) || 0));
    const top = ceiling(Math.max(0, ...values), this.unit);
    const x = (at) => LEFT + (width - LEFT - 4) * (1 - (this.now - at) / (KEEP * 1000));
    const y = (n) => height - BOTTOM - (height - TOP - BOTTOM) * (finite(n) / top);
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      const level = Math.round(y(top * share)) + 0.5;
      parts.push(make("line", { class: "grid", x1: LEFT, x2: width - 4, y1: level, y2: level }));
      parts.push(make("text", { x: LEFT - 6, y: level + 4, "text-anchor": "end" }, share ? short(this.text(top * share)) : "0"));
    }
    for (const [minutes, anchor] of [[5, "start"], [3, "middle"], [2, "middle"], [1, "middle"], [0, "end"]]) {
      const at = x(this.now - minutes * 60000);
      parts.push(make("text", { x: at, y: height - 3, "text-anchor": anchor }, ["now", "−1", "−2", "−3", "", "−5 min"][minutes]));
    }
    const inside = (at) => x(at) >= LEFT;
    for (const at of this.marks.filter(inside)) {
      parts.push(make("line", { class: "mark", x1: x(at), x2: x(at), y1: TOP, y2: height - BOTTOM }));
    }
    for (const { key, color, area } of this.curves) {
      for (const run of this.runs(key, inside)) {
        const path = run.map((point, i) => `${i ? "L" : "M"}${x(point.at).toFixed(1)} ${y(point[key]).toFixed(1)}`).join("");
        const [from, to] = [x(run[0].at).toFixed(1), x(run.at(-1).at).toFixed(1)];
        if (area) parts.push(make("path", { class: "area", d: `${path}L${to} ${y(0)}L${from} ${y(0)}Z` }));
        // A single point is drawn too: a line of no length, with round ends.
        parts.push(make("path", { class: `curve ${color}`, d: run.length > 1 ? path : `${path}h0.01` }));
      }
    }
    this.write(parts, x, height);
    this.svg.replaceChildren(...parts);
  }

  // Points in a row that have a value.
  runs(key, inside) {
    const runs = [[]];
    for (const point of this.points) {
      if (point[key] === null || !inside(point.at)) runs.push([]);
      else runs.at(-1).push(point);
    }
    return runs.filter((run) => run.length > 0);
  }

  // The values at the pointer, or else the last ones.
  write(parts, x, height) {
    let point = this.points.at(-1);
    if (this.pointer !== null && point !== undefined) {
      const distance = (one) => Math.abs(x(one.at) - this.pointer);
      point = this.points.reduce((best, one) => (distance(one) < distance(best) ? one : best));
      parts.push(make("line", { class: "cross", x1: x(point.at), x2: x(point.at), y1: TOP, y2: height - BOTTOM }));
    }
    const told = this.labels.map(({ name, value }, i) => {
      const text = `${name} ${this.text(point ? point[this.curves[i].key] : null)}`;
      value.textContent = text;
      return text;
    });
    this.when.textContent = this.pointer !== null && point ? new Date(point.at).toLocaleTimeString() : "";
    this.svg.setAttribute("aria-label", `${this.name}, over the last five minutes. Now: ${told.join(", ")}`);
  }
}
