// What every component here shares. Each component's own file is appended to this one before it is handed over.

// The arrays arrive as base64 of little-endian float32, which is a quarter of the same numbers as JSON.
function floats(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

// Colours of the page's theme, as [red, green, blue].
function themeColor(element, name, fallback) {
  const host = element.host ?? element;
  const text = getComputedStyle(host).getPropertyValue(`--st-${name}`).trim();
  return rgb(text || fallback);
}

function rgb(text) {
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = text;
  const hex = probe.fillStyle; // the browser answers #rrggbb, or rgba(...) where there is transparency
  if (hex.startsWith("#")) return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return hex.match(/[\d.]+/g).slice(0, 3).map(Number);
}

function mixed(from, to, share) {
  return from.map((value, at) => Math.round(value + (to[at] - value) * share));
}

function css(color, alpha = 1) {
  return `rgba(${color[0]}, ${color[1]}, ${color[2]}, ${alpha})`;
}

// A canvas is drawn in device pixels and addressed in CSS pixels.
function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

// Three significant digits, and a true minus sign.
function short(value) {
  if (Number.isNaN(value)) return "none";
  const size = Math.abs(value);
  const text = size >= 1000 ? value.toFixed(0) : size >= 0.01 || size === 0 ? value.toPrecision(3) : value.toExponential(1);
  return text.replace("-", "−");
}

// The step cursor of the page. Components move it at once among themselves; Python hears of it when it rests.
const CURSOR_MOVED = "lens-cursor-moved";
const REST_MS = 140;
const FORGET_MS = 2000;

class Cursor {
  // `tell(step, channel)` reports to Python, `draw()` redraws this component.
  constructor(tell, draw) {
    this.tell = tell;
    this.draw = draw;
    this.timer = null;
    this.sent = null;
    this.listen = (event) => {
      if (event.detail.from === this || event.detail.subject !== this.subject) return;
      this.step = event.detail.step;
      this.sent = { step: this.step, at: performance.now() };
      this.draw();
    };
    window.addEventListener(CURSOR_MOVED, this.listen);
  }

  // What Python says; while a newer step of ours is under way to Python, an older one coming back is not followed.
  adopt(data) {
    const other = data.subject !== this.subject;
    Object.assign(this, { subject: data.subject, first: data.first, last: data.last });
    const late = this.sent && data.step !== this.sent.step && performance.now() - this.sent.at < FORGET_MS;
    if (!other && (this.timer !== null || late)) return;
    this.sent = null;
    this.step = data.step;
    this.channel = data.channel;
  }

  move(step, channel = this.channel, wait = REST_MS) {
    this.step = Math.min(Math.max(step, this.first), this.last);
    this.channel = channel;
    this.sent = { step: this.step, at: performance.now() };
    window.dispatchEvent(
      new CustomEvent(CURSOR_MOVED, { detail: { step: this.step, subject: this.subject, from: this } }),
    );
    this.draw();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = null;
      this.sent = { step: this.step, at: performance.now() };
      this.tell(this.step, this.channel);
    }, wait);
  }

  // Arrow keys, Home and End; true where the key was one of them.
  key(event) {
    const to = { ArrowLeft: this.step - 1, ArrowRight: this.step + 1, Home: this.first, End: this.last }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return false;
    event.preventDefault();
    this.move(to);
    return true;
  }

  // A page that goes away must not leave its listener or its timer behind.
  drop() {
    window.removeEventListener(CURSOR_MOVED, this.listen);
    clearTimeout(this.timer);
  }
}

// One object for the life of a mounted component: the function below runs again with every new data.
const mounted = new WeakMap();

function once(parent, make) {
  if (!mounted.has(parent)) mounted.set(parent, make());
  return mounted.get(parent);
}
