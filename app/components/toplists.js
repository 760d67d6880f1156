// The top items of several models side by side; equal items are joined by lines, and pointing at one marks it in all.

class TopLists {
  constructor(parent) {
    this.parent = parent;
    this.root = parent.querySelector(".lists");
    this.resizer = new ResizeObserver(() => this.drawLinks());
    this.resizer.observe(this.root);
  }

  show(data) {
    this.data = data;
    this.marked = null;
    this.root.setAttribute("aria-label", data.alt);
    const columns = data.lists.map((list, place) => this.column(list, place));
    this.links = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.links.setAttribute("aria-hidden", "true");
    this.root.replaceChildren(this.links, ...columns);
    this.drawLinks();
  }

  drop() {
    this.resizer.disconnect();
  }

  column(list, place) {
    const column = document.createElement("section");
    const head = document.createElement("h4");
    head.textContent = list.name;
    const items = document.createElement("ol");
    items.append(...list.items.map((item) => this.entry(item, place)));
    column.append(head, items);
    return column;
  }

  entry(item, column) {
    const entry = document.createElement("li");
    const title = document.createElement("span");
    title.className = "title";
    title.textContent = item.title; // titles come from a log: text, never markup
    const others = this.data.lists.filter((list, place) => place !== column && list.items.some((one) => one.id === item.id));
    const note = document.createElement("span");
    note.className = "note";
    const truth = item.id === this.data.truth ? ["came next"] : [];
    if (item.id === this.data.target) truth.push("target");
    note.textContent = [...truth, others.length ? `in ${others.length} more` : "only here"].join(" · ");
    entry.append(title, note);
    entry.dataset.item = item.id;
    entry.classList.toggle("shared", others.length > 0);
    entry.classList.toggle("truth", item.id === this.data.truth);
    entry.tabIndex = 0;
    entry.onpointerenter = entry.onfocus = () => this.mark(item.id);
    entry.onpointerleave = entry.onblur = () => this.mark(null);
    return entry;
  }

  mark(item) {
    this.marked = item;
    for (const part of this.root.querySelectorAll("[data-item]")) {
      part.classList.toggle("marked", item !== null && part.dataset.item === item);
    }
  }

  // Lines only where the columns stand side by side; on a narrow page they are stacked and the notes must do.
  drawLinks() {
    if (!this.links) return;
    const columns = [...this.root.querySelectorAll("section")];
    this.links.replaceChildren();
    const box = this.root.getBoundingClientRect();
    if (columns.length < 2 || columns[1].getBoundingClientRect().top > columns[0].getBoundingClientRect().top + 5) return;
    this.links.setAttribute("width", box.width);
    this.links.setAttribute("height", box.height);
    columns.forEach((column, place) => {
      for (const from of column.querySelectorAll("li")) this.join(from, columns.slice(place + 1), box);
    });
  }

  // To the same item in the next column that has it; a line over more than one gap passes behind the lists between.
  join(from, columns, box) {
    const same = (one) => one.dataset.item === from.dataset.item;
    const to = columns.map((column) => [...column.querySelectorAll("li")].find(same)).find(Boolean);
    if (!to) return;
    const [a, b] = [from.getBoundingClientRect(), to.getBoundingClientRect()];
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("x1", a.right - box.left);
    line.setAttribute("y1", a.top + a.height / 2 - box.top);
    line.setAttribute("x2", b.left - box.left);
    line.setAttribute("y2", b.top + b.height / 2 - box.top);
    line.dataset.item = from.dataset.item;
    this.links.append(line);
  }
}

export default function ({ data, parentElement }) {
  const lists = once(parentElement, () => new TopLists(parentElement));
  lists.show(data);
  return () => {
    lists.drop();
    mounted.delete(parentElement);
  };
}
