// A matrix drawn cell by cell on a canvas: rows are channels, columns are events on the page's shared x-axis.

class HeatMap {
  constructor(parent) {
    this.parent = parent;
    this.canvas = parent.querySelector("canvas");
    this.frame = parent.querySelector(".frame");
    this.readout = parent.querySelector("output");
    this.legend = parent.querySelector(".legend");
    this.hover = null;
    this.cursor = new Cursor((step, channel) => this.send("move", { step, channel }), () => this.draw());
    this.resizer = new ResizeObserver(() => this.draw());
    this.resizer.observe(this.frame);
    this.frame.onkeydown = (event) => this.keyDown(event);
    this.canvas.onpointermove = (event) => this.point(event);
    this.canvas.onpointerleave = () => this.point(null);
    this.canvas.onclick = (event) => this.click(event);
  }

  show(data, send) {
    this.send = send;
    const fresh = data.values !== this.data?.values;
    this.data = data;
    this.cursor.adopt(data);
    if (fresh) {
      this.values = floats(data.values);
      this.terms = data.terms && Object.fromEntries(Object.entries(data.terms).map(([k, v]) => [k, v && floats(v)]));
      this.hover = null;
    }
    this.frame.setAttribute("aria-label", data.alt);
    this.paintCells();
    this.draw();
  }

  drop() {
    this.cursor.drop();
    this.resizer.disconnect();
  }

  // Cells as one pixel each, once for each data and theme; draw() only stretches them.
  paintCells() {
    const { rows, columns } = this.data;
    this.background = themeColor(this.parent, "background-color", "#ffffff");
    this.ink = themeColor(this.parent, "text-color", "#222222");
    this.cells = this.cells ?? document.createElement("canvas");
    this.cells.width = columns;
    this.cells.height = rows;
    const pen = this.cells.getContext("2d");
    const image = pen.createImageData(columns, rows);
    this.values.forEach((value, at) => image.data.set([...this.color(value), Number.isNaN(value) ? 0 : 255], at * 4));
    pen.putImageData(image, 0, 0);
    this.paintLegend();
  }

  color(value) {
    const { low, high, signed, colors } = this.data;
    if (Number.isNaN(value)) return this.background;
    const share = signed ? Math.abs(value) / high : (value - low) / (high - low);
    const end = rgb(signed && value < 0 ? colors.negative : colors.positive);
    return mixed(this.background, end, Math.min(Math.max(share, 0), 1));
  }

  paintLegend() {
    const { low, high, signed, clipped, colors } = this.data;
    const ends = this.legend.querySelectorAll("span");
    ends[0].textContent = `${clipped && signed ? "≤ " : ""}${short(low)}`;
    ends[1].textContent = `${clipped ? "≥ " : ""}${short(high)}`;
    const middle = css(this.background);
    const stops = signed ? [colors.negative, middle, colors.positive] : [middle, colors.positive];
    this.legend.querySelector("i").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  }

  // Where things stand, in CSS pixels.
  layout() {
    const { rows, columns, gutter, margin, row_height } = this.data;
    const width = this.frame.clientWidth;
    const plot = Math.max(width - gutter - margin, 40);
    return { width, plot, left: gutter, cell: plot / columns, line: row_height, height: rows * row_height + 20 };
  }

  draw() {
    if (!this.data) return;
    const { rows, columns } = this.data;
    const at = this.layout();
    const pen = sized(this.canvas, at.width, at.height);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.cells, 0, 0, columns, rows, at.left, 0, at.plot, rows * at.line);
    pen.strokeStyle = css(this.ink, 0.15);
    pen.strokeRect(at.left - 0.5, 0.5, at.plot + 1, rows * at.line);
    if (at.cell >= 9 && at.line >= 9 && this.data.signed) this.drawMinus(pen, at);
    this.drawLabels(pen, at);
    this.drawCursor(pen, at);
    this.readout.textContent = this.says();
    Object.assign(this.frame.dataset, { subject: this.data.subject, step: this.cursor.step });
  }

  // Sign is not left to colour alone: a large negative cell carries a minus.
  drawMinus(pen, at) {
    pen.strokeStyle = css(this.background);
    pen.lineWidth = 1.5;
    this.values.forEach((value, place) => {
      if (!(value < -this.data.high / 3)) return;
      const x = at.left + ((place % this.data.columns) + 0.5) * at.cell;
      const y = (Math.floor(place / this.data.columns) + 0.5) * at.line;
      pen.beginPath();
      pen.moveTo(x - 2.5, y);
      pen.lineTo(x + 2.5, y);
      pen.stroke();
    });
    pen.lineWidth = 1;
  }

  drawLabels(pen, at) {
    const { labels, columns, first } = this.data;
    const font = getComputedStyle(this.frame).fontFamily;
    const every = Math.ceil(12 / at.line);
    pen.font = `${Math.min(11, Math.max(at.line - 2, 9))}px ${font}`;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    labels.forEach((label, row) => {
      const chosen = row === this.row();
      if (row % every && !chosen) return;
      pen.fillStyle = css(this.ink, chosen ? 1 : 0.65);
      pen.fillText(label, at.left - 6, (row + 0.5) * at.line, at.left - 8);
    });
    pen.textAlign = "center";
    pen.font = `11px ${font}`;
    pen.fillStyle = css(this.ink, 0.65);
    const stride = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((one) => one * at.cell >= 28) ?? 1000;
    for (let step = Math.ceil(first / stride) * stride; step < first + columns; step += stride) {
      pen.fillText(step, at.left + (step - first + 0.5) * at.cell, labels.length * at.line + 12);
    }
  }

  drawCursor(pen, at) {
    const { rows } = this.data;
    const column = this.cursor.step - this.data.first;
    pen.strokeStyle = css(this.ink);
    pen.lineWidth = 1.5;
    if (column >= 0 && column < this.data.columns) {
      pen.strokeRect(at.left + column * at.cell, 0.75, Math.max(at.cell, 2), rows * at.line - 1);
    }
    const row = this.row();
    if (row >= 0) {
      pen.setLineDash([3, 3]);
      pen.strokeRect(at.left, row * at.line, at.plot, at.line);
      pen.setLineDash([]);
    }
    if (this.hover) {
      pen.lineWidth = 2;
      pen.strokeRect(at.left + this.hover.column * at.cell, this.hover.row * at.line, Math.max(at.cell, 3), at.line);
    }
    pen.lineWidth = 1;
  }

  // The row that is chosen: that of the channel, or where rows are events, that of the step.
  row() {
    const wanted = this.data.rows_are_events ? this.cursor.step - this.data.first : this.cursor.channel;
    return this.data.row_numbers.indexOf(wanted);
  }

  cellAt(event) {
    const at = this.layout();
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - at.left) / at.cell);
    const row = Math.floor((event.clientY - box.top) / at.line);
    const inside = column >= 0 && column < this.data.columns && row >= 0 && row < this.data.rows;
    return inside ? { row, column } : null;
  }

  point(event) {
    this.hover = event && this.cellAt(event);
    this.draw();
  }

  click(event) {
    const cell = this.cellAt(event);
    if (!cell) return;
    this.frame.focus({ preventScroll: true });
    const step = this.data.first + (this.data.rows_are_events ? cell.row : cell.column);
    this.cursor.move(step, this.data.rows_are_events ? this.cursor.channel : this.data.row_numbers[cell.row], 0);
  }

  keyDown(event) {
    if (this.cursor.key(event)) return;
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (by === undefined || this.data.rows_are_events) return;
    event.preventDefault();
    const row = Math.min(Math.max(this.row() + by, 0), this.data.rows - 1);
    this.cursor.move(this.cursor.step, this.data.row_numbers[row]);
  }

  // The cell under the pointer, else the chosen one, with the arithmetic that made it.
  says() {
    const chosen = { row: Math.max(this.row(), 0), column: this.cursor.step - this.data.first };
    const { row, column } = this.hover ?? chosen;
    if (column < 0 || column >= this.data.columns) return "";
    const step = this.data.first + column;
    const value = this.values[row * this.data.columns + column];
    if (this.data.rows_are_events) {
      if (!this.hover) return "Point at a cell to read it.";
      const source = `event ${step} (${this.data.titles[column]})`;
      if (Number.isNaN(value)) return `Event ${row + this.data.first} cannot see ${source}: it came later.`;
      if (!this.data.shares) return `${this.data.name}: ${short(value)}, event ${row + this.data.first} of ${source}.`;
      return `Event ${row + this.data.first} gives ${(100 * value).toFixed(1)} % of its attention to ${source}.`;
    }
    const channel = this.data.row_numbers[row];
    const own = `${this.data.name}[${step}, ${channel}] = ${short(value)}`;
    const parts = this.terms ? [this.arithmetic(row, column)] : [];
    if (!this.terms || this.data.name !== "state") parts.unshift(own);
    return `${this.data.titles[column]}:  ${parts.join("   ·   ")}`;
  }

  // h[57, 12] = 0.94 × 1.31 + 0.06 × 0.42 = 1.26, with the numbers of this cell.
  arithmetic(row, column) {
    const { decay, write, phase } = this.terms;
    const at = row * this.data.columns + column;
    const now = this.stateAt(at);
    const before = column > 0 ? this.stateAt(at - 1) : this.startOf(row);
    const turn = phase ? phase[row] : 0;
    const kept = [
      decay[at] * (Math.cos(turn) * before[0] - Math.sin(turn) * before[1]),
      decay[at] * (Math.sin(turn) * before[0] + Math.cos(turn) * before[1]),
    ];
    const entered = [now[0] - kept[0], now[1] - kept[1]];
    const number = ([re, im]) => (phase ? `(${short(re)} ${im < 0 ? "−" : "+"} ${short(Math.abs(im))}i)` : short(re));
    const gated = write && write[at] > 1e-6;
    const input = gated ? `${short(write[at])} × ${number(entered.map((part) => part / write[at]))}` : number(entered);
    const turned = phase ? ` · e^(${short(turn)}i)` : "";
    const name = `h[${this.data.first + column}, ${this.data.row_numbers[row]}]`;
    return `${name} = ${short(decay[at])}${turned} × ${number(before)} + ${input} = ${number(now)}`;
  }

  // [real, imaginary]; the imaginary parts, where there are any, follow all real ones.
  stateAt(at) {
    const { state, phase } = this.terms;
    return [state[at], phase ? state[this.data.rows * this.data.columns + at] : 0];
  }

  startOf(row) {
    const { start, phase } = this.terms;
    return [start[row], phase ? start[this.data.rows + row] : 0];
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const map = once(parentElement, () => new HeatMap(parentElement));
  map.show(data, setTriggerValue);
  return () => {
    map.drop();
    mounted.delete(parentElement);
  };
}
