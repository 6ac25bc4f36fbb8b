// Makes the Pareto plot and the table of cells interactive. Text reaches the page as text only (textContent), never as markup.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("numbers").textContent);
  if (!data.axes) return;

  const places = new Map(data.places.map((place, index) => [place.key, index]));
  const metrics = [];
  for (const place of data.places) if (!metrics.some((other) => other.metric === place.metric)) metrics.push(place);
  const metricOf = new Map(metrics.map((place) => [place.metric, place]));
  data.cells.forEach((cell, index) => { cell.index = index; });

  // ---- numbers ----

  const grouped = (text) => text.replace(/^(\d+)/, (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ","));
  const format = (value, decimals, withSign = false) => {
    if (!Number.isFinite(value) || Math.abs(value) >= 1e15) return String(value);
    const text = grouped(Math.abs(value).toFixed(decimals));
    const zero = !/[1-9]/.test(text);
    return (value < 0 && !zero ? "−" : withSign && value > 0 && !zero ? "+" : "") + text;
  };
  const decimalsFor = (place, value) => (place.net && place.decimals === 0 && !Number.isInteger(value) ? 1 : place.decimals);
  const print = (place, value, withSign) => format(value, decimalsFor(place, value), withSign);
  const printSummary = (place, summary, withSign = false) => {
    if (!summary) return "–";
    const [mean, , low, high] = summary;
    const interval = low !== undefined && low < high ? ` [${print(place, low, withSign)}, ${print(place, high, withSign)}]` : "";
    return print(place, mean, withSign) + interval;
  };
  // What an interval is about.
  const about = (place, summary) => (place.net || !summary || !(summary[2] < summary[3]) ? "" : summary[4] ? " seeds and rows" : " seeds");
  const placeAt = (metric, split) => places.get(metricOf.get(metric).net ? metric : `${metric}/${split}`);
  const summaryOf = (cell, metric, split, kind = "values") => cell[kind][placeAt(metric, split)] || null;

  // ---- elements ----

  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const drawn = (name, attributes, text) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const choice = (label, options, value, onChange) => {
    const select = element("select");
    for (const [key, text] of options) select.append(element("option", { value: key, textContent: text, selected: key === value }));
    select.addEventListener("change", () => onChange(select.value));
    return element("label", {}, label, select);
  };
  const check = (label, checked, onChange, key) => {
    const input = element("input", { type: "checkbox", checked });
    input.addEventListener("change", () => onChange(input.checked));
    return element("label", key ? { className: "series" } : {}, input, ...(key ? [key] : []), label);
  };

  const outlines = [
    null,
    [[-0.88, -0.88], [0.88, -0.88], [0.88, 0.88], [-0.88, 0.88]],
    [[0, -1.15], [1.05, 0.8], [-1.05, 0.8]],
    [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]],
    [[0, 1.15], [1.05, -0.8], [-1.05, -0.8]],
    [[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1], [-0.4, 0.4], [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]],
    [[-0.6, -1.04], [0.6, -1.04], [1.2, 0], [0.6, 1.04], [-0.6, 1.04], [-1.2, 0]],
  ];
  const marker = (series, x, y, r) => {
    const outline = outlines[series % outlines.length];
    if (!outline) return `M${(x - r).toFixed(1)} ${y.toFixed(1)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
    return `M${outline.map(([dx, dy]) => `${(x + dx * r).toFixed(1)} ${(y + dy * r).toFixed(1)}`).join("L")}Z`;
  };
  const colour = (series) => data.colours[series % data.colours.length];
  const key = (series) => {
    const svg = drawn("svg", { width: 14, height: 14, viewBox: "0 0 14 14", class: "key", "aria-hidden": "true" });
    if (series === null) svg.append(drawn("path", { d: marker(3, 7, 7, 4.5), class: "dense-mark" }));
    else svg.append(drawn("path", { d: marker(series, 7, 7, 5), fill: colour(series) }));
    return svg;
  };

  // ---- axes ----

  const nice = (step) => {
    const power = 10 ** Math.floor(Math.log10(step));
    return ([1, 2, 5].find((factor) => factor * power >= step * (1 - 1e-9)) ?? 10) * power;
  };
  const scale = (values, from, to) => {
    let low = Infinity, high = -Infinity;
    for (const value of values) { low = Math.max(-1e300, Math.min(low, value)); high = Math.min(1e300, Math.max(high, value)); }
    if (low > high) [low, high] = [0, 1];
    const logarithmic = low > 0 && high / low > 10;
    if (logarithmic) {
      const room = (high / low) ** 0.04;
      low /= room; high *= room;
    } else {
      const room = high > low ? (high - low) * 0.05 : Math.max(Math.abs(low) * 0.05, 5e-4);
      low -= room; high += room;
    }
    const share = (value) => (logarithmic ? Math.log(Math.max(value, 1e-300) / low) / Math.log(high / low) : (value - low) / (high - low));
    const ticks = (count) => {
      const found = [];
      if (logarithmic) {
        const steps = Math.log10(high / low) < 3 ? [1, 2, 5] : [1];
        for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade++)
          for (const step of steps) {
            const value = step * 10 ** decade;
            if (low <= value && value <= high) found.push([value, format(value, Math.min(12, Math.max(0, -decade)))]);
          }
        return found;
      }
      const step = nice((high - low) / count);
      const decimals = Math.min(12, Math.max(0, -Math.floor(Math.log10(step))));
      for (let index = Math.ceil(low / step); index * step <= high && found.length < 50; index++)
        found.push([index * step, format(index * step, decimals)]);
      return found;
    };
    return { at: (value) => from + Math.min(1, Math.max(0, share(value))) * (to - from), inside: (value) => share(value) >= 0 && share(value) <= 1, ticks };
  };

  // ---- the plot ----

  const state = {
    x: data.axes.x, y: data.axes.y, split: "validation", bars: true, near: false,
    shown: new Set(data.series.map((_, index) => index)), dense: true, chosen: null,
  };
  const holder = document.getElementById("plot");
  const tip = element("div", { className: "tip", hidden: true });
  let points = [];
  let spot = null;

  const better = (metric) => metricOf.get(metric).maximize;
  const isVisible = (cell) => (cell.dense ? state.dense : state.shown.has(cell.series));

  function draw() {
    const width = Math.max(320, holder.clientWidth), height = Math.max(360, Math.min(540, width * 0.58));
    const left = 66, right = 14, top = 14, bottom = height - 54;
    const found = [];
    for (const cell of data.cells) {
      const x = summaryOf(cell, state.x, state.split), y = summaryOf(cell, state.y, state.split);
      if (x && y && isVisible(cell)) found.push({ cell, x, y });
    }
    const front = found.filter((point) => point.cell.front);
    const frame = state.near && front.length ? front.concat(found.filter((point) => point.cell.dense)) : found;
    // Outlines and rings keep a few marks apart; of thousands they would leave nothing else to see.
    const many = found.length > 1000;
    const markClass = many ? "mark many" : "mark";
    const withBars = state.bars && !many;
    const xs = scale(frame.map((point) => point.x[0]), left, width - right);
    const bounds = (point) => (withBars && frame.length < 400 && point.y[2] !== undefined ? [point.y[2], point.y[3], point.y[0]] : [point.y[0]]);
    const ys = scale(frame.flatMap(bounds), bottom, top);

    const svg = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${state.y} against ${state.x}`, "font-size": 12 });
    for (const [value, text] of ys.ticks(7)) {
      svg.append(drawn("path", { d: `M${left} ${ys.at(value)}H${width - right}`, class: "grid" }));
      svg.append(drawn("text", { x: left - 8, y: ys.at(value) + 4, "text-anchor": "end", class: "muted" }, text));
    }
    let free = 0;
    for (const [value, text] of xs.ticks(Math.max(3, Math.round(width / 110)))) {
      const at = xs.at(value), half = text.length * 3.3;
      svg.append(drawn("path", { d: `M${at} ${top}V${bottom}`, class: "grid" }));
      if (at - half <= free) continue;
      svg.append(drawn("text", { x: at, y: bottom + 18, "text-anchor": "middle", class: "muted" }, text));
      free = at + half + 6;
    }
    svg.append(drawn("path", { d: `M${left} ${top}V${bottom}H${width - right}`, class: "axis", fill: "none" }));
    const axisTitle = (metric) => {
      const place = metricOf.get(metric);
      return `${place.short}${place.net ? "" : `, ${state.split}`} — ${better(metric) ? "higher" : "lower"} is better`;
    };
    svg.append(drawn("text", { x: (left + width - right) / 2, y: height - 12, "text-anchor": "middle", class: "ink" }, axisTitle(state.x)));
    svg.append(drawn("text", { transform: `translate(14 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "ink" }, axisTitle(state.y)));

    drawDense(svg, found, ys, left, width - right);
    drawFront(svg, front, xs, ys, left, width - right);
    const bars = new Map(), solid = new Map(), faint = new Map();
    const add = (map, series, path) => map.set(series, (map.get(series) ?? "") + path);
    let rings = "", dense = "";
    const equal = new Map();
    points = [];
    for (const { cell, x, y } of found) {
      if (!xs.inside(x[0]) || !ys.inside(y[0])) continue;
      const [px, py] = [xs.at(x[0]), ys.at(y[0])];
      points.push({ cell, px, py });
      if (cell.point !== null) {
        const place = `${cell.point} ${px} ${py}`;
        const count = (equal.get(place)?.count ?? 0) + 1;
        equal.set(place, { px, py, count });
        if (count > 1) continue;
      }
      if (cell.series === null) { dense += marker(3, px, py, 4.5); continue; }
      if (withBars && y[2] !== undefined) add(bars, cell.series, `M${px.toFixed(1)} ${ys.at(y[2]).toFixed(1)}V${ys.at(y[3]).toFixed(1)}`);
      add(cell.eligible || cell.control ? solid : faint, cell.series, marker(cell.series, px, py, cell.front ? 5 : many ? 2.5 : 4));
      if (cell.front && front.length <= 60) rings += marker(0, px, py, 8.5);
    }
    for (const [series, path] of bars) svg.append(drawn("path", { d: path, stroke: colour(series), fill: "none" }));
    svg.append(drawn("path", { d: dense, class: "mark dense-mark" }));
    for (const [series, path] of faint) svg.append(drawn("path", { d: path, fill: colour(series), "fill-opacity": 0.35, class: markClass }));
    for (const [series, path] of solid) svg.append(drawn("path", { d: path, fill: colour(series), class: markClass }));
    svg.append(drawn("path", { d: rings, class: "front", fill: "none", "stroke-width": 1.2 }));
    for (const { px, py, count } of equal.values())
      if (count > 1) svg.append(drawn("text", { x: px + 8, y: py - 8, class: "ink" }, `×${count}`));
    spot = drawn("path", { d: "", class: "front", fill: "none", "stroke-width": 2.5 });
    svg.append(spot);
    holder.replaceChildren(svg, tip);
    markChosen();
  }

  function drawDense(svg, found, ys, from, to) {
    const best = found.find((point) => point.cell.id === data.baseline);
    if (!best || metricOf.get(state.y).net) return;
    if (best.y[2] !== undefined)
      svg.append(drawn("rect", { x: from, y: ys.at(best.y[3]), width: to - from, height: Math.max(0, ys.at(best.y[2]) - ys.at(best.y[3])), class: "band", "fill-opacity": 0.07 }));
    const at = ys.at(best.y[0]);
    svg.append(drawn("path", { d: `M${from} ${at}H${to}`, class: "dense", "stroke-width": 1.5, "stroke-dasharray": "5 3" }));
    svg.append(drawn("text", { x: from + 6, y: at - 6, class: "ink" }, `baseline: best dense net ${print(metricOf.get(state.y), best.y[0])}`));
  }

  // The line of steps is the edge of what the front dominates: it exists only on the axes that the front was chosen on.
  function drawFront(svg, front, xs, ys, from, to) {
    const chosenOn = new Set(data.objectives);
    if (state.split !== "validation" || chosenOn.size !== 2 || !chosenOn.has(state.x) || !chosenOn.has(state.y) || state.x === state.y) return;
    const up = better(state.x);
    const ordered = [...front].sort((a, b) => (up ? b.x[0] - a.x[0] : a.x[0] - b.x[0]));
    let path = "";
    for (const { x, y } of ordered) path += path ? `H${xs.at(x[0]).toFixed(1)}V${ys.at(y[0]).toFixed(1)}` : `M${xs.at(x[0]).toFixed(1)} ${ys.at(y[0]).toFixed(1)}`;
    if (path) svg.append(drawn("path", { d: `${path}H${up ? from : to}`, class: "front", fill: "none", "stroke-width": 1.5 }));
  }

  const nearest = (event) => {
    const box = holder.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = null, distance = 24 ** 2;
    for (const point of points) {
      const d = (point.px - x) ** 2 + (point.py - y) ** 2;
      if (d < distance) [best, distance] = [point, d];
    }
    return best;
  };

  function showTip(point) {
    if (!point) { tip.hidden = true; markChosen(); return; }
    const { cell } = point;
    const list = element("dl");
    const line = (name, text) => list.append(element("dt", { textContent: name }), element("dd", { textContent: text }));
    for (const metric of new Set([state.x, state.y])) {
      const place = metricOf.get(metric);
      if (place.net) { line(place.short, printSummary(place, summaryOf(cell, metric))); continue; }
      for (const split of ["validation", "test"]) {
        const summary = summaryOf(cell, metric, split);
        line(`${place.short}, ${split}`, printSummary(place, summary) + about(place, summary));
      }
      const difference = summaryOf(cell, metric, "test", "differences");
      if (difference) line("test, minus baseline", printSummary(place, difference, true) + about(place, difference));
    }
    data.settings.forEach((name, index) => { if (cell.settings[index] !== null) line(name, cell.settings[index]); });
    tip.replaceChildren(element("strong", { textContent: cell.name }), list, element("p", { textContent: cell.status }));
    tip.hidden = false;
    const room = holder.clientWidth;
    const toLeft = point.px > room / 2;
    tip.style.left = toLeft ? "auto" : `${point.px + 14}px`;
    tip.style.right = toLeft ? `${room - point.px + 14}px` : "auto";
    tip.style.top = `${Math.max(0, point.py - 30)}px`;
    spot.setAttribute("d", marker(0, point.px, point.py, 10));
  }

  function markChosen() {
    const point = points.find((other) => other.cell === state.chosen);
    if (spot) spot.setAttribute("d", point ? marker(0, point.px, point.py, 10) : "");
  }

  function plotTools() {
    const tools = document.getElementById("plot-tools");
    const set = (name) => (value) => { state[name] = value; draw(); };
    const options = metrics.map((place) => [place.metric, place.short]);
    const toggle = (index) => (on) => { if (on) state.shown.add(index); else state.shown.delete(index); draw(); };
    const series = element("div", { className: "group" });
    data.series.forEach((name, index) => series.append(check(name, true, toggle(index), key(index))));
    if (data.cells.some((cell) => cell.dense)) series.append(check("dense control", true, set("dense"), key(null)));
    tools.append(
      choice("Across", options, state.x, set("x")), choice("Up", options, state.y, set("y")),
      choice("On", [["validation", "validation"], ["test", "test"]], state.split, set("split")),
      check("95 % intervals", true, set("bars")), check("only near the front", false, set("near")), series,
    );
    tools.hidden = false;
  }

  // ---- the table ----

  const table = { view: "validation", text: "", only: "all", sort: null, down: false, rows: [], drawn: 0 };
  const body = element("tbody");
  const head = element("thead");
  const total = element("span", { className: "note" });
  const sentinel = element("div");
  const CHUNK = 150;

  const views = {
    validation: ["validation", "values"], test: ["test", "values"],
    "difference-validation": ["validation", "differences"], "difference-test": ["test", "differences"],
  };
  function columns() {
    const [split, kind] = views[table.view];
    const number = (place) => ({
      title: place.short, number: true,
      value: (cell) => summaryOf(cell, place.metric, split, place.net ? "values" : kind)?.[0] ?? null,
      text: (cell) => printSummary(place, summaryOf(cell, place.metric, split, place.net ? "values" : kind), !place.net && kind === "differences"),
    });
    const first = [state.x, state.y].map((metric) => metricOf.get(metric));
    const ordered = [...new Set([...first, ...metrics])];
    return [
      { title: "cell", value: (cell) => cell.name, cell: true },
      { title: "sparsity asked for", number: true, value: (cell) => cell.sparsity, text: (cell) => (cell.sparsity === null ? "–" : String(cell.sparsity)) },
      ...ordered.map(number),
      { title: "status", value: (cell) => cell.status, text: (cell) => cell.status, className: "long" },
      { title: "id", value: (cell) => cell.id, text: (cell) => cell.id, className: "id" },
    ];
  }

  const statuses = {
    all: () => true, front: (cell) => cell.front, eligible: (cell) => cell.eligible,
    excluded: (cell) => !cell.eligible && !cell.control, controls: (cell) => cell.control,
  };
  function fillTable() {
    const shown = columns();
    const words = table.text.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (cell) => {
      const text = [cell.name, cell.id, cell.status, ...cell.settings].join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    };
    table.rows = data.cells.filter((cell) => statuses[table.only](cell) && matches(cell));
    const column = shown.find((other) => other.title === table.sort);
    if (column) {
      const sign = table.down ? -1 : 1;
      const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
      const keyed = table.rows.map((cell) => [column.value(cell), cell]);
      keyed.sort(([a, first], [b, second]) => {
        if (a === null || b === null) return (a === null) - (b === null) || first.index - second.index;
        return sign * compare(a, b) || first.index - second.index;
      });
      table.rows = keyed.map(([, cell]) => cell);
    }
    head.replaceChildren(element("tr", {}, ...shown.map((other) => {
      const arrow = other.title === table.sort ? (table.down ? " ↓" : " ↑") : "";
      const button = element("button", { type: "button", textContent: other.title + arrow });
      button.addEventListener("click", () => {
        [table.sort, table.down] = table.sort === other.title ? [other.title, !table.down] : [other.title, false];
        fillTable();
      });
      const th = element("th", { className: other.number ? "number" : "", scope: "col" }, button);
      if (arrow) th.setAttribute("aria-sort", table.down ? "descending" : "ascending");
      return th;
    })));
    body.replaceChildren();
    table.drawn = 0;
    more();
    total.textContent = `${grouped(String(table.rows.length))} of ${grouped(String(data.cells.length))} cells`;
  }

  // Names break between their parts and not inside "1e-5".
  const nameParts = (name) => name.split(" · ").flatMap((part, index) => [
    ...(index ? [" · "] : []), part.length <= 32 ? element("span", { className: "part", textContent: part }) : part,
  ]);

  function more() {
    const shown = columns();
    const next = table.rows.slice(table.drawn, table.drawn + CHUNK);
    for (const cell of next) {
      const row = element("tr", { className: `pick${cell.front ? " front" : ""}${cell === state.chosen ? " chosen" : ""}` });
      for (const column of shown) {
        const td = element("td", { className: column.className ?? (column.number ? "number" : "") });
        if (column.cell) td.append(key(cell.series), ...nameParts(cell.name));
        else {
          const [mean, interval] = column.text(cell).split(column.number ? " [" : "\u0000");
          td.append(mean, ...(interval ? [" ", element("small", { textContent: `[${interval}` })] : []));
        }
        row.append(td);
      }
      row.addEventListener("click", () => choose(cell, false));
      cell.row = row;
      body.append(row);
    }
    table.drawn += next.length;
  }

  function choose(cell, scroll) {
    state.chosen = cell;
    markChosen();
    if (scroll && !table.rows.includes(cell)) {
      [table.text, table.only] = ["", "all"];
      document.querySelector("#table-tools input").value = "";
      document.querySelector("#table-tools select").value = "all";
      fillTable();
    }
    while (!cell.row?.isConnected && table.drawn < table.rows.length) more();
    for (const row of body.querySelectorAll(".chosen")) row.classList.remove("chosen");
    cell.row?.classList.add("chosen");
    if (scroll) cell.row?.scrollIntoView({ block: "center", behavior: "smooth" });
  }

  function tableTools() {
    const tools = document.getElementById("table-tools");
    const set = (name) => (value) => { table[name] = value; fillTable(); };
    const search = element("input", { type: "search", placeholder: "magnitude 0.9 …" });
    search.addEventListener("input", () => set("text")(search.value));
    tools.append(
      choice("Show", [["all", "all cells"], ["front", "the front"], ["eligible", "eligible cells"], ["excluded", "cells not eligible"], ["controls", "controls"]], "all", set("only")),
      choice("Numbers", [["validation", "validation"], ["test", "test"], ["difference-validation", "minus baseline, validation"], ["difference-test", "minus baseline, test"]], table.view, set("view")),
      element("label", {}, "Find", search), total,
    );
    tools.hidden = false;
    const scroll = element("div", { className: "scroll" }, element("table", {}, head, body));
    document.getElementById("table").replaceChildren(scroll, sentinel);
    new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) more(); }, { rootMargin: "600px" }).observe(sentinel);
  }

  holder.classList.add("live");
  holder.addEventListener("pointermove", (event) => showTip(nearest(event)));
  holder.addEventListener("pointerleave", () => showTip(null));
  holder.addEventListener("click", (event) => { const point = nearest(event); if (point) choose(point.cell, true); });
  let width = 0;
  new ResizeObserver(() => { if (holder.clientWidth !== width) { width = holder.clientWidth; draw(); } }).observe(holder);
  plotTools();
  tableTools();
  fillTable();
})();
