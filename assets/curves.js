// Line charts: `drawCurves(element, charts)` draws each chart of a list into its own figure, or nothing where it is empty.
// A chart is { id, title, unit, end, legend, curves: [{ name, color, style, points: [[step, value], …] }] }; `end` is the
// last step, `legend` whether the curves are named above them.
window.drawCurves = (() => {
  const HEIGHT = 260;
  const LINE = 20; // of a saved picture's legend
  const INK = "currentColor";
  const [LEFT, RIGHT, TOP, BOTTOM] = [54, 26, 50, 40];
  const STYLES = {
    plain: { "stroke-width": 2 },
    faint: { "stroke-width": 1, "stroke-opacity": 0.75 },
    level: { "stroke-width": 1.5, "stroke-dasharray": "5 4" },
    dots: { "stroke-width": 2 },
  };
  const shown = new WeakMap(); // figure -> its chart
  const pointed = new WeakMap(); // figure -> where the pointer rests on it
  const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => draw(target)));

  function node(name, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  const text = (attributes, ...children) => node("text", { fill: INK, "font-size": 12, ...attributes }, ...children);
  const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4, notation: notation(value) });
  const notation = (value) => (Math.abs(value) < 1e5 ? "standard" : Math.abs(value) < 1e15 ? "compact" : "scientific");

  // Round values within [low, high], about `count` of them and at least `least` apart, and what they are called.
  function ticks(low, high, count, least = 0) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const round = least && power < 10 ? [1, 2, 5, 10] : [1, 2, 2.5, 5, 10];
    const apart = Math.max(least, round.map((times) => times * power).find((each) => each >= rough));
    const first = Math.ceil(low / apart);
    const values = Array.from({ length: Math.floor(high / apart) - first + 1 }, (_, place) => (first + place) * apart);
    const digits = Math.min(20, Math.max(0, 1 - Math.floor(Math.log10(apart))));
    const large = { notation: notation(high), maximumSignificantDigits: 4 };
    const form = apart < 1e4 ? { maximumFractionDigits: digits } : large;
    return values.map((value) => [value, value.toLocaleString("en", form)]);
  }

  function scales(chart, width, height) {
    const values = chart.curves.flatMap(({ points }) => points.map(([, value]) => value));
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const margin = (high - low) * 0.06 || Math.abs(high) * 0.06 || 1;
    const [bottom, top] = [low - margin, high + margin];
    return {
      x: (step) => LEFT + (step / chart.end) * (width - LEFT - RIGHT),
      y: (value) => height - BOTTOM - ((value - bottom) / (top - bottom)) * (height - TOP - BOTTOM),
      steps: ticks(0, chart.end, Math.max(2, Math.min(12, width / 75)), 1),
      values: ticks(bottom, top, Math.max(2, Math.min(8, (height - TOP - BOTTOM) / 36))),
    };
  }

  const withPoints = ({ curves }) => curves.filter(({ points }) => points.length);

  function said(chart) {
    const ends = withPoints(chart).map(({ name, points }) => {
      const [step, value] = points.at(-1);
      return `${name} ${number(value)} at step ${step.toLocaleString("en")}`;
    });
    return `${chart.title}: ${ends.join(", ")}`;
  }

  const key = ({ name, color }) =>
    [node("tspan", { fill: color, "font-size": 15 }, "● "), node("tspan", {}, `${name}\u2003`)];

  function draw(figure) {
    const chart = shown.get(figure);
    const width = figure.clientWidth;
    const height = figure.classList.contains("large") ? figure.clientHeight : HEIGHT;
    if (!width) return; // in a closed tab
    const { x, y, steps, values } = scales(chart, width, height);
    const { fontFamily } = getComputedStyle(figure);
    const right = width - RIGHT;
    const svg = node("svg", { width, height, role: "img", "aria-label": said(chart), "font-family": fontFamily });
    svg.append(text({ x: 8, y: 18, "font-size": 14, "font-weight": 600 }, chart.title));
    svg.append(text({ x: right, y: 18, "text-anchor": "end", opacity: 0.65, class: "unit" }, chart.unit));
    if (chart.legend) svg.append(text({ x: 8, y: 38, "xml:space": "preserve" }, ...withPoints(chart).flatMap(key)));
    for (const [value, called] of values) {
      svg.append(node("line", { x1: LEFT, x2: right, y1: y(value), y2: y(value), stroke: INK, "stroke-opacity": 0.14 }));
      svg.append(text({ x: LEFT - 8, y: y(value) + 4, "text-anchor": "end", opacity: 0.75 }, called));
    }
    for (const [step, called] of steps) {
      const below = { x: x(step), y: height - BOTTOM + 18, "text-anchor": "middle", opacity: 0.75 };
      svg.append(text(below, called));
    }
    svg.append(text({ x: (LEFT + right) / 2, y: height - 6, "text-anchor": "middle", opacity: 0.65 }, "step"));
    for (const { color, style, points } of withPoints(chart)) {
      const corners = points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`);
      svg.append(node("path", { class: "line", d: `M${corners.join("L")}`, fill: "none", stroke: color, ...STYLES[style] }));
      if (style === "dots" || points.length === 1) {
        const r = points.length > 40 ? 1.5 : 3.5;
        svg.append(...points.map(([step, value]) => node("circle", { cx: x(step), cy: y(value), r, fill: color })));
      }
    }
    const upright = { y1: TOP, y2: height - BOTTOM, stroke: INK, "stroke-opacity": 0.4 };
    svg.append(node("line", { class: "rule", visibility: "hidden", ...upright }));
    for (const kind of ["pointermove", "pointerdown"]) {
      svg.addEventListener(kind, ({ clientX }) => point(figure, clientX, x));
    }
    svg.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && leave(figure));
    figure.querySelector("svg")?.remove();
    figure.prepend(svg);
    if (pointed.has(figure)) point(figure, pointed.get(figure), x);
  }

  // The values of all curves at the step under the pointer, each at its nearest point.
  function point(figure, clientX, x) {
    pointed.set(figure, clientX);
    const far = ([step]) => Math.abs(x(step) - (clientX - figure.getBoundingClientRect().left));
    const nearest = (points) => points.reduce((best, each) => (far(each) < far(best) ? each : best));
    const found = withPoints(shown.get(figure)).map(({ name, color, points }) => ({ name, color, at: nearest(points) }));
    const [step] = nearest(found.map(({ at }) => at));
    const rule = figure.querySelector(".rule");
    rule.setAttribute("x1", x(step));
    rule.setAttribute("x2", x(step));
    rule.setAttribute("visibility", "visible");
    const tip = figure.querySelector(".tip");
    const rows = found.filter(({ at }) => Math.abs(x(at[0]) - x(step)) < 4).map(({ name, color, at: [, value] }) => {
      const row = document.createElement("div");
      const dot = Object.assign(document.createElement("i"), { textContent: "● " });
      dot.style.color = color;
      row.append(dot, `${name} `, Object.assign(document.createElement("b"), { textContent: number(value) }));
      return row;
    });
    tip.replaceChildren(`step ${step.toLocaleString("en")}`, ...rows);
    tip.hidden = false;
    tip.style.left = `${Math.max(4, Math.min(x(step) + 10, figure.clientWidth - tip.offsetWidth - 4))}px`;
  }

  function leave(figure) {
    pointed.delete(figure);
    figure.querySelector(".tip").hidden = true;
    figure.querySelector(".rule")?.setAttribute("visibility", "hidden");
  }

  async function save(figure) {
    const svg = figure.querySelector("svg").cloneNode(true);
    const [width, drawn] = [svg.getAttribute("width"), Number(svg.getAttribute("height"))];
    const chart = shown.get(figure);
    const named = chart.legend ? [] : withPoints(chart); // what stands beside the chart on the page comes below it
    const height = drawn + named.length * LINE;
    named.forEach((curve, at) => svg.append(text({ x: 8, y: drawn + at * LINE + 12 }, ...key(curve))));
    const { color, backgroundColor } = getComputedStyle(figure);
    svg.setAttribute("color", color);
    svg.setAttribute("height", height);
    svg.querySelector(".rule").remove();
    const image = new Image();
    image.src = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(svg))}`;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: 2 * width, height: 2 * height });
    const brush = canvas.getContext("2d");
    brush.fillStyle = backgroundColor;
    brush.fillRect(0, 0, canvas.width, canvas.height);
    brush.drawImage(image, 0, 0, canvas.width, canvas.height);
    Object.assign(document.createElement("a"), { href: canvas.toDataURL(), download: `${figure.id}.png` }).click();
  }

  function enlarge(figure, isLarge = !figure.classList.contains("large")) {
    figure.classList.toggle("large", isLarge);
    figure.querySelector("[aria-pressed]").ariaPressed = isLarge;
  }

  function button(shown, label, act) {
    const looks = { type: "button", textContent: shown, title: label, ariaLabel: label };
    const made = Object.assign(document.createElement("button"), looks);
    made.addEventListener("click", act);
    return made;
  }

  function made(id) {
    const figure = Object.assign(document.createElement("figure"), { id, className: "curve-chart", tabIndex: -1 });
    const buttons = Object.assign(document.createElement("div"), { className: "buttons" });
    buttons.append(
      Object.assign(button("⤢", "Enlarge", () => enlarge(figure)), { ariaPressed: false }),
      button("⤓", "Save as a picture", () => save(figure)),
    );
    figure.append(buttons, Object.assign(document.createElement("div"), { className: "tip", hidden: true }));
    figure.addEventListener("keydown", (event) => {
      if (event.key === "Escape") enlarge(figure, false);
      if (event.key === "Tab" && figure.classList.contains("large")) { // nothing behind it is reached
        event.preventDefault();
        [...buttons.children].find((each) => each !== document.activeElement).focus();
      }
    });
    resized.observe(figure);
    return figure;
  }

  return (element, charts) => {
    const place = element.querySelector(".curves");
    const drawn = (charts || []).filter((chart) => withPoints(chart).length);
    const figures = drawn.map((chart) => {
      const figure = [...place.children].find(({ id }) => id === chart.id) ?? made(chart.id);
      shown.set(figure, chart);
      return figure;
    });
    const isSame = figures.length === place.children.length && figures.every((figure, at) => figure === place.children[at]);
    if (!isSame) place.replaceChildren(...figures);
    figures.forEach(draw);
  };
})();
