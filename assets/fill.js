// The sentence in large type: its words can be hidden by a click and shown again, and bars fill words in.
// Runs once, in a function that Gradio gives `element` (ours), `props` (its value) and `watch`.
const tab = element.closest(".fill-mask");
const line = element.querySelector(".filled");
const MASK = /<mask>|\[mask\]|_{3,}/gi;  // as trainer/config.py has it
const LONG = 3000;  // characters; of a longer text a part is shown
const AROUND = 300;  // characters on both sides of its first mask

let text = "";
let slots = [];  // {start, end, other, mask}: parts of the text that a click swaps with `other`; `mask` numbers answers

const field = () => tab.querySelector("#sentence textarea");
const isMask = (part) => part.replace(MASK, "") === "" && part !== "";

function ask() {
  if (text.search(MASK) >= 0) tab.querySelector("button.ask")?.click();
}

// Replaces a part of the text and moves what lies behind it.
function replace(start, end, word) {
  const shift = word.length - (end - start);
  text = text.slice(0, start) + word + text.slice(end);
  for (const slot of slots) {
    if (slot.start >= end) [slot.start, slot.end] = [slot.start + shift, slot.end + shift];
    else if (slot.start === start && slot.end === end) slot.end = start + word.length;
  }
  slots = slots.filter((slot) => slot.end <= start || slot.start >= start + word.length || slot.start === start);
}

function write() {
  field().value = text;
  field().dispatchEvent(new Event("input", { bubbles: true }));
  draw();
}

function slotAt(start, end) {
  let slot = slots.find((one) => one.start === start && one.end === end);
  if (!slot) slots.push((slot = { start, end, other: null }));
  return slot;
}

// Hides a word or shows it again; a gap that was typed gets the likeliest word. Whether there was something to do.
function swap(start, end, likeliest) {
  const slot = slotAt(start, end);
  const was = text.slice(start, end);
  const word = slot.other ?? (isMask(was) ? likeliest : "<mask>");
  if (!word) return false;
  slot.other = was;
  replace(start, end, word);
  write();
  return true;
}

function toggle(start, end, likeliest) {
  if (swap(start, end, likeliest)) ask();
}

function fill(mask, word) {
  const slot = slots.find((one) => one.mask === mask);
  if (!slot) return;
  const was = text.slice(slot.start, slot.end);
  if (isMask(was)) slot.other = was;
  const apart = slot.start === 0 || /\s$/.test(text.slice(0, slot.start));
  replace(slot.start, slot.end, apart ? word.trimStart() : word);
}

function insert() {
  const area = field();
  let { selectionStart: start, selectionEnd: end } = area;
  const chosen = text.slice(start, end);
  const inner = chosen.trim();
  start += chosen.length - chosen.trimStart().length;
  end = start + inner.length;
  const touches = (part) => !inner && /[\p{L}\p{N}\p{P}]/u.test(part) && !/^[.,;:!?)\]}]/.test(part);
  if (touches(text.slice(start - 1, start))) { replace(start, start, " "); start += 1; end += 1; }
  if (touches(text.slice(end, end + 1))) replace(end, end, " ");
  replace(start, end, "<mask>");
  if (inner) slotAt(start, start + 6).other = inner;
  write();
  area.focus();
  area.setSelectionRange(start + 6, start + 6);
}

// The text was typed: what lies before and behind the change stays what it was.
function typed() {
  const now = field().value;
  if (now === text) return;
  const most = Math.min(now.length, text.length);
  let head = 0, tail = 0;
  while (head < most && now[head] === text[head]) head++;
  while (tail < most - head && now[now.length - 1 - tail] === text[text.length - 1 - tail]) tail++;
  const behind = text.length - tail, shift = now.length - text.length;
  slots = slots.filter((slot) => slot.end <= head || slot.start >= behind).map((slot) =>
    slot.end <= head ? slot : { ...slot, start: slot.start + shift, end: slot.end + shift });
  text = now;
  draw();
}

function words(part) {
  if (!Intl.Segmenter) return part.match(/[\p{L}\p{N}\p{M}'’]+|[^\p{L}\p{N}\p{M}'’]+/gu) ?? [];
  return [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(part)].map((found) => found.segment);
}

function button(className, shown, label, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = className;
  made.textContent = shown;
  made.title = label;
  made.setAttribute("aria-label", `${shown}: ${label}`);
  made.addEventListener("click", act);
  return made;
}

// `written` is what a click writes for `likeliest`: nothing where that is no whole word, or can't be seen.
function drawGap(start, end, likeliest, written) {
  const slot = slots.find((one) => one.start === start && one.end === end);
  const was = slot?.other ?? null;
  const shown = isMask(text.slice(start, end)) ? likeliest ?? "mask" : text.slice(start, end);
  const label = was === null ? (written ? "write this word here" : "a word to be guessed")
    : isMask(was) ? "hide it again" : `show “${was}” again`;
  const made = button("gap", "", label, () => toggle(start, end, written));
  const mark = document.createElement(likeliest || !isMask(text.slice(start, end)) ? "mark" : "span");
  mark.className = mark.tagName === "SPAN" ? "blank" : "";
  mark.textContent = shown;
  made.append(mark);
  made.setAttribute("aria-label", `${shown}: ${label}`);
  if (was !== null && !isMask(was)) {
    const original = document.createElement("small");
    original.textContent = was;
    made.append(original);
  }
  return made;
}

function draw() {
  const focused = [...line.children].indexOf(document.activeElement);
  const answer = props.value?.text === text ? props.value : { masks: [] };
  const gaps = new Map(answer.masks.map(([start, end], i) => [start, [end, answer.words[i], answer.written[i]]]));
  for (const found of text.matchAll(MASK)) {
    if (!gaps.has(found.index)) gaps.set(found.index, [found.index + found[0].length]);
  }
  for (const slot of slots) if (!gaps.has(slot.start)) gaps.set(slot.start, [slot.end]);
  const starts = [...gaps.keys()].sort((a, b) => a - b);
  const [from, to] = text.length > LONG ? [(starts[0] ?? 0) - AROUND, (starts[0] ?? 0) + AROUND] : [0, text.length];
  line.replaceChildren(...(from > 0 ? ["… "] : []));
  let at = Math.max(0, from);
  const plain = (end) => {
    let start = at;
    for (const part of words(text.slice(at, end))) {
      const [first, last] = [start, start + part.length];
      line.append(/[\p{L}\p{N}]/u.test(part) ? button("word", part, "hide this word", () => toggle(first, last)) : part);
      start = last;
    }
    at = end;
  };
  for (const start of starts) {
    const [end, ...word] = gaps.get(start);
    if (start < at || end > to) continue;
    plain(start);
    line.append(drawGap(start, end, ...word));
    at = end;
  }
  plain(Math.min(to, text.length));
  if (to < text.length) line.append(" …");
  line.children[focused]?.focus();
  for (const bar of tab.querySelectorAll("[data-mask]")) {
    const slot = slots.find((one) => one.mask === Number(bar.dataset.mask));
    const written = slot ? text.slice(slot.start, slot.end) : "";
    bar.classList.toggle("chosen", written === JSON.parse(bar.dataset.words)[0].trim());
  }
}

function answered() {
  if (props.value?.text === text) {
    for (const slot of slots) delete slot.mask;
    props.value.masks.forEach(([start, end], i) => (slotAt(start, end).mask = i));
  }
  draw();
}

// A surprising word was clicked: hide it, and ask what was expected in its place. It may have been moved since.
function hide(start, end, word) {
  if (text.slice(start, end) !== word) return;
  swap(start, end);
  tab.querySelector("#fill-mode input")?.click();
  let tries = 0;
  const waiting = setInterval(() => {
    const button = tab.querySelector("#fill");
    if (button || ++tries > 50) clearInterval(waiting);
    button?.click();
  }, 60);
}

tab.addEventListener("input", (event) => event.target === field() && typed());
tab.addEventListener("mousedown", (event) => event.target.closest("[data-insert]") && event.preventDefault());
tab.addEventListener("click", (event) => {
  const act = event.target.closest("[data-insert], [data-example], [data-words], [data-hide]");
  if (!act) return;
  if ("insert" in act.dataset) insert();
  else if ("example" in act.dataset) { [text, slots] = [act.dataset.example, []]; write(); ask(); }
  else if ("hide" in act.dataset) hide(...act.dataset.hide.split(",").map(Number), act.textContent);
  else {
    const [first, ...rest] = JSON.parse(act.dataset.words);
    fill(Number(act.dataset.mask ?? 0), first);
    rest.forEach((word, i) => fill(i + 1, word));
    write();
    ask();
  }
});
watch("value", answered);

// The field may come after us.
(function begin() {
  if (!field()) return requestAnimationFrame(begin);
  text = field().value;
  answered();
})();
