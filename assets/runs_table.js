// The table of runs. The server sends `news`: all ids, newest first, and those rows that changed. It is a string, for Gradio
// takes a second to wrap a thousand objects. `value` are the chosen ids. What a row says is put in as text, never as markup.
const PAGE = 50; // lines that are drawn at first; more when they are scrolled to
const scroll = element.querySelector(".scroll");
const body = element.querySelector("tbody");
const search = element.querySelector("[type=search]");
const every = element.querySelector("thead [type=checkbox]");
const heads = [...element.querySelectorAll("th[data-column]")];
const date = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const rows = new Map(); // by id
const lines = new Map(); // those that were drawn: id -> { tr, tick }
let ids = []; // newest first
let found = []; // the ids that match the search, sorted
let limit = PAGE;
let column = "started";
let falling = true;

function line(id) {
  const tr = document.createElement("tr");
  const tick = Object.assign(document.createElement("input"), { type: "checkbox" });
  tr.dataset.run = id;
  for (const { className, dataset } of element.querySelectorAll("th")) {
    const cell = Object.assign(tr.insertCell(), { className });
    if (!dataset.column) cell.append(tick);
    else cell.append(document.createElement("span"), document.createElement("small"));
  }
  lines.set(id, { tr, tick });
  write(id);
  return tr;
}

function write(id) {
  const row = rows.get(id);
  const { tr, tick } = lines.get(id);
  tick.ariaLabel = `Choose ${row.name}`;
  heads.forEach(({ dataset: { column } }, place) => {
    const [text, note] = tr.cells[place + 1].children;
    text.textContent = column === "started" && row.started ? date.format(row.started * 1000) : row.text[column];
    if (column === "name") note.textContent = row.name === row.own ? "" : row.own;
    if (column === "state") text.className = `state ${row.state}`;
  });
}

function matches(id, words) {
  const { own, text } = rows.get(id);
  const all = [own, text.name, text.state, text.data, text.model].join(" ").toLowerCase();
  return words.every((word) => all.includes(word));
}

function compare(first, second) {
  const [a, b] = [first, second].map((id) => rows.get(id).key[column]);
  if (a === b) return 0;
  if (a === null || b === null) return a === null ? 1 : -1; // what is unknown comes last, either way
  const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  return falling ? -order : order;
}

function arrange() {
  const words = search.value.toLowerCase().split(/\s+/);
  found = ids.filter((id) => matches(id, words)).sort(compare);
  const drawn = found.slice(0, limit).map((id) => lines.get(id)?.tr ?? line(id));
  if (drawn.length !== body.rows.length || drawn.some((tr, place) => tr !== body.rows[place])) body.replaceChildren(...drawn);
  for (const head of heads) head.ariaSort = head.dataset.column === column ? (falling ? "descending" : "ascending") : "none";
  mark();
}

function mark() {
  const chosen = new Set(props.value);
  for (const [id, { tr, tick }] of lines) tr.classList.toggle("chosen", (tick.checked = chosen.has(id)));
  every.checked = found.length > 0 && found.every((id) => chosen.has(id));
  every.indeterminate = !every.checked && found.some((id) => chosen.has(id));
  const part = found.length < ids.length ? `${found.length.toLocaleString("en")} of ` : "";
  const total = `${ids.length.toLocaleString("en")} ${ids.length === 1 ? "run" : "runs"}`;
  const taken = chosen.size ? `, ${chosen.size.toLocaleString("en")} chosen` : "";
  element.querySelector(".count").textContent = part + total + taken;
}

function choose(chosen) {
  props.value = chosen;
  mark();
  trigger("input");
}

function update() {
  const news = JSON.parse(props.news);
  ids = news.ids;
  for (const row of news.rows) {
    rows.set(row.id, row);
    if (lines.has(row.id)) write(row.id);
  }
  const left = new Set(ids);
  for (const id of [...rows.keys()].filter((id) => !left.has(id))) rows.delete(id), lines.delete(id);
  element.dataset.empty = ids.length === 0;
  arrange();
  if (props.value.some((id) => !left.has(id))) choose(props.value.filter((id) => left.has(id)));
}

body.addEventListener("click", ({ target }) => {
  const id = target.closest("tr").dataset.run;
  choose(props.value.includes(id) ? props.value.filter((other) => other !== id) : [...props.value, id]);
});
every.addEventListener("change", () => {
  const others = props.value.filter((id) => !found.includes(id));
  choose(every.checked ? [...others, ...found] : others);
});
for (const head of heads) {
  head.firstElementChild.addEventListener("click", () => {
    [column, falling] = [head.dataset.column, head.dataset.column === column ? !falling : "falls" in head.dataset];
    arrange();
  });
}
search.addEventListener("input", arrange);
scroll.addEventListener("scroll", () => {
  if (limit >= found.length || scroll.scrollTop + 2 * scroll.clientHeight < scroll.scrollHeight) return;
  limit += PAGE;
  arrange();
});
watch("news", update);
watch("value", mark);
if (props.news) update();
