// The events of a user as a strip on the page's x-axis, and the ones around the cursor as cards with their titles.

const ARCS = 34; // pixels for the arcs from a cause to its effect
const BAND = 22; // pixels of the strip itself
const CARD = 132; // least width of a card
const PLAY_MS = 160;

class Strip {
  constructor(parent) {
    this.parent = parent;
    this.frame = parent.querySelector(".frame");
    this.canvas = parent.querySelector("canvas");
    this.cards = parent.querySelector(".cards");
    this.legend = parent.querySelector(".causes");
    this.buttons = Object.fromEntries([...parent.querySelectorAll("button[name]")].map((one) => [one.name, one]));
    this.cursor = new Cursor((step, channel) => this.send("move", { step, channel }), () => this.draw());
    this.resizer = new ResizeObserver(() => this.draw());
    this.resizer.observe(this.frame);
    this.frame.onkeydown = (event) => this.cursor.key(event);
    this.canvas.onclick = (event) => this.click(event);
    this.canvas.onpointermove = (event) => this.point(event);
    this.buttons.back.onclick = () => this.cursor.move(this.cursor.step - 1);
    this.buttons.on.onclick = () => this.cursor.move(this.cursor.step + 1);
    this.buttons.play.onclick = () => this.play();
  }

  show(data, send) {
    this.send = send;
    this.data = data;
    this.cursor.adopt(data);
    this.frame.setAttribute("aria-label", data.alt);
    this.legend.replaceChildren(...data.cause_names.map((name, place) => this.causeName(name, data.cause_colors[place])));
    this.draw();
  }

  causeName(name, color) {
    const label = document.createElement("span");
    label.className = "cause";
    label.textContent = name;
    label.style.setProperty("--dot", color);
    return label;
  }

  drop() {
    this.stop();
    this.cursor.drop();
    this.resizer.disconnect();
  }

  layout() {
    const { titles, gutter, margin } = this.data;
    const width = this.frame.clientWidth;
    const plot = Math.max(width - gutter - margin, 40);
    return { width, plot, left: gutter, cell: plot / titles.length, top: this.hasArcs() ? ARCS : 4 };
  }

  hasArcs() {
    return this.data.cause_from.some((one) => one > 0);
  }

  draw() {
    if (!this.data) return;
    const at = this.layout();
    const pen = sized(this.canvas, at.width, at.top + BAND + 6);
    this.background = themeColor(this.parent, "background-color", "#ffffff");
    this.ink = themeColor(this.parent, "text-color", "#222222");
    this.drawBand(pen, at);
    if (this.hasArcs()) this.drawArcs(pen, at);
    this.drawCards(at);
    this.buttons.back.disabled = this.cursor.step <= this.cursor.first;
    this.buttons.on.disabled = this.cursor.step >= this.cursor.last;
    this.frame.setAttribute("aria-valuemin", this.cursor.first);
    this.frame.setAttribute("aria-valuemax", this.cursor.last);
    this.frame.setAttribute("aria-valuenow", this.cursor.step);
    this.frame.setAttribute("aria-valuetext", `event ${this.cursor.step}, ${this.title(this.cursor.step)}`);
  }

  title(step) {
    return this.data.titles[step - this.data.first] ?? "";
  }

  x(step, at) {
    return at.left + (step - this.data.first + 0.5) * at.cell;
  }

  drawBand(pen, at) {
    const { titles, causes, cause_colors, session_starts } = this.data;
    const gap = at.cell > 5 ? 1 : 0;
    titles.forEach((_, place) => {
      const step = this.data.first + place;
      const color = rgb(causes.length ? cause_colors[causes[place]] : this.data.color);
      const seen = step <= this.cursor.step;
      pen.fillStyle = css(color, seen ? 1 : 0.3);
      pen.fillRect(at.left + place * at.cell + gap / 2, at.top, Math.max(at.cell - gap, 0.8), BAND - 6);
      if (session_starts[place]) {
        pen.fillStyle = css(this.ink, 0.55);
        pen.fillRect(at.left + place * at.cell - 0.5, at.top, 1, BAND);
      }
    });
    pen.strokeStyle = css(this.ink);
    pen.lineWidth = 2;
    pen.strokeRect(this.x(this.cursor.step, at) - Math.max(at.cell, 4) / 2, at.top - 1, Math.max(at.cell, 4), BAND - 4);
    pen.lineWidth = 1;
  }

  // A thin arc from each event that caused a later one; those of the cursor's event are drawn strongly.
  drawArcs(pen, at) {
    this.data.cause_from.forEach((source, place) => {
      const step = this.data.first + place;
      if (source < this.data.first) return;
      const chosen = step === this.cursor.step || source === this.cursor.step;
      const [from, to] = [this.x(source, at), this.x(step, at)];
      pen.strokeStyle = css(rgb(this.data.cause_colors[this.data.causes[place]]), chosen ? 1 : 0.3);
      pen.lineWidth = chosen ? 2.5 : 1;
      pen.beginPath();
      pen.moveTo(from, at.top);
      pen.quadraticCurveTo((from + to) / 2, at.top - Math.min(2 * ARCS - 8, 10 + (to - from) / 2), to, at.top);
      pen.stroke();
    });
    pen.lineWidth = 1;
  }

  // As many cards as fit, the cursor's in the middle, or as near to it as the ends allow.
  drawCards(at) {
    const count = Math.max(1, Math.min(7, Math.floor(at.width / CARD), this.data.titles.length));
    const end = this.data.first + this.data.titles.length;
    const from = Math.max(Math.min(this.cursor.step - Math.floor((count - 1) / 2), end - count), this.data.first);
    const shown = Array.from({ length: count }, (_, place) => this.card(from + place));
    this.cards.replaceChildren(...shown);
  }

  card(step) {
    const place = step - this.data.first;
    const { when, pauses, causes, cause_names, cause_colors, cause_from } = this.data;
    const card = document.createElement("button");
    card.type = "button";
    card.tabIndex = -1; // the frame is the one stop for the Tab key; arrows move inside
    card.className = step === this.cursor.step ? "card now" : "card";
    card.onclick = () => {
      this.frame.focus({ preventScroll: true }); // this card is about to be drawn anew
      this.cursor.move(step, this.cursor.channel, 0);
    };
    const add = (name, text) => {
      const line = document.createElement("span");
      line.className = name;
      line.textContent = text; // titles come from a log: text, never markup
      card.append(line);
    };
    const state = step === this.cursor.step ? " · here" : step === this.cursor.step + 1 ? " · comes next" : "";
    add("number", `event ${step}${state}`);
    add("title", this.title(step));
    add("time", [when[place], pauses[place]].filter(Boolean).join(" · "));
    if (causes.length) {
      const source = cause_from[place] > 0 ? ` ← event ${cause_from[place]}` : "";
      card.append(this.causeName(`${cause_names[causes[place]]}${source}`, cause_colors[causes[place]]));
    }
    return card;
  }

  stepAt(event) {
    const at = this.layout();
    const x = event.clientX - this.canvas.getBoundingClientRect().left - at.left;
    const place = Math.floor(x / at.cell);
    return place >= 0 && place < this.data.titles.length ? this.data.first + place : null;
  }

  point(event) {
    const step = this.stepAt(event);
    this.canvas.title = step === null ? "" : `event ${step}: ${this.title(step)}`;
  }

  click(event) {
    const step = this.stepAt(event);
    if (step === null) return;
    this.frame.focus({ preventScroll: true });
    this.cursor.move(step, this.cursor.channel, 0);
  }

  // Moves by the reader's wish alone, and not at all where the reader asked for less motion.
  play() {
    if (this.playing) return this.stop();
    if (this.cursor.step >= this.cursor.last) this.cursor.step = this.cursor.first - 1;
    this.buttons.play.textContent = "stop";
    this.playing = setInterval(() => {
      this.cursor.move(this.cursor.step + 1, this.cursor.channel, 2 * PLAY_MS);
      if (this.cursor.step >= this.cursor.last) this.stop();
    }, PLAY_MS);
  }

  stop() {
    clearInterval(this.playing);
    this.playing = null;
    this.buttons.play.textContent = "play";
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const strip = once(parentElement, () => new Strip(parentElement));
  strip.show(data, setTriggerValue);
  return () => {
    strip.drop();
    mounted.delete(parentElement);
  };
}
