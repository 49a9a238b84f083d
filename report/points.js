// Points of a figure, one by one, with uPlot: what is shown, dragging enlarges, pointing or the arrow keys read a point.
"use strict";
(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const shown = (value) => Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
  const make = (tag, given = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), given);
    made.append(...children);
    return made;
  };
  const FAR = 40; // pixels from the pointer to the point that is read
  const BAND = 0.2; // the lines beside the exact one

  const build = (fold, view) => {
    for (const series of view.series) {
      series.words = series.x.map((_, point) => series.words.map((places, column) => view.words[column][places[point]]).filter(Boolean).join(", "));
    }
    const said = make("output");
    const mark = make("span", { className: "points-mark", hidden: true });
    const frame = make("div", { className: "points-frame", tabIndex: 0 });
    frame.setAttribute("role", "group");
    frame.setAttribute("aria-label", `${view.title}: the arrow keys go from point to point; the same points are in the figure's data`);
    const find = make("input", { type: "search" });
    const matches = view.series.map((series) => series.words.map(() => true));
    const visible = (at) => chart.series[at + 1].show;

    // Drawing.
    const paint = (u, number) => {
      const series = view.series[number - 1];
      const size = 2.6 * devicePixelRatio;
      u.ctx.save();
      u.ctx.beginPath();
      u.ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
      u.ctx.clip();
      for (const on of [false, true]) {
        u.ctx.fillStyle = u.ctx.strokeStyle = on ? series.colour : colour("--rule");
        u.ctx.lineWidth = devicePixelRatio;
        u.ctx.beginPath();
        series.x.forEach((x, place) => {
          if (matches[number - 1][place] !== on) return;
          const [left, top] = [u.valToPos(x, "x", true), u.valToPos(series.y[place], "y", true)];
          u.ctx.moveTo(left + size, top);
          u.ctx.arc(left, top, size, 0, 2 * Math.PI);
        });
        u.ctx[series.hollow ? "stroke" : "fill"]();
      }
      u.ctx.restore();
      return null;
    };
    const line = (u, points, dash, width, shade) => {
      u.ctx.save();
      u.ctx.beginPath();
      u.ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
      u.ctx.clip();
      u.ctx.beginPath();
      points.forEach(([x, y], place) => u.ctx[place ? "lineTo" : "moveTo"](u.valToPos(x, "x", true), u.valToPos(y, "y", true)));
      u.ctx.setLineDash(dash.map((length) => length * devicePixelRatio));
      u.ctx.lineWidth = width * devicePixelRatio;
      u.ctx.strokeStyle = colour(shade);
      u.ctx.stroke();
      u.ctx.restore();
    };
    const guides = (u) => {
      const { min, max } = u.scales.x;
      if (view.exact) {
        line(u, [[min, min], [max, max]], [], 1, "--ink");
        for (const factor of [1 - BAND, 1 + BAND]) line(u, [[min, min * factor], [max, max * factor]], [3, 3], 1, "--soft");
      }
      const front = view.series.flatMap((series) => series.front.map((place) => [series.x[place], series.y[place]])).sort((a, b) => a[0] - b[0]);
      line(u, front.flatMap(([x, y], place) => (place ? [[x, front[place - 1][1]], [x, y]] : [[x, y]])), [], 1, "--ink");
    };

    // Reading a point.
    let read = null;
    const tell = (point) => {
      read = point;
      mark.hidden = !point;
      if (!point) return;
      const [at, place] = point;
      const series = view.series[at];
      const [x, y] = [series.x[place], series.y[place]];
      mark.style.left = `${chart.valToPos(x, "x")}px`;
      mark.style.top = `${chart.valToPos(y, "y")}px`;
      const off = 100 * (y / x - 1);
      const error = view.exact ? `; ${off < 0 ? "\u2212" : "+"}${shown(Math.abs(off))} %` : "";
      said.textContent = `${series.name}: ${series.words[place]}. ${view.x} ${shown(x)}; ${view.y} ${shown(y)}${error}`;
    };
    const candidates = () => {
      const { x, y } = chart.scales;
      return view.series.flatMap((series, at) => (visible(at)
        ? series.x.map((_, place) => [at, place]).filter(([, place]) => matches[at][place]
          && series.x[place] >= x.min && series.x[place] <= x.max && series.y[place] >= y.min && series.y[place] <= y.max)
        : []));
    };
    const nearest = (left, top) => {
      let [best, distance] = [null, FAR];
      for (const [at, place] of candidates()) {
        const series = view.series[at];
        const away = Math.hypot(chart.valToPos(series.x[place], "x") - left, chart.valToPos(series.y[place], "y") - top);
        if (away < distance) [best, distance] = [[at, place], away];
      }
      return best;
    };
    frame.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const all = candidates();
      const now = read ? all.findIndex(([at, place]) => at === read[0] && place === read[1]) : -1;
      if (all.length) tell(all[(Math.max(now, step < 0 ? 0 : -1) + step + all.length) % all.length]);
    });

    // What is shown: a button a series, and words that a point must bear.
    const buttons = view.series.map((series, at) => {
      const swatch = make("span", { className: "points-swatch" });
      swatch.style.background = series.hollow ? "none" : series.colour;
      swatch.style.borderColor = series.colour;
      const button = make("button", { type: "button" }, swatch, series.name);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        const on = !visible(at);
        button.setAttribute("aria-pressed", on);
        tell(null);
        chart.setSeries(at + 1, { show: on });
      });
      return button;
    });
    find.addEventListener("input", () => {
      const wanted = find.value.toLowerCase().split(/\s+/).filter(Boolean);
      view.series.forEach((series, at) => series.words.forEach((words, place) => {
        matches[at][place] = wanted.every((word) => `${series.name} ${words}`.toLowerCase().includes(word));
      }));
      tell(null);
      const number = matches.flat().filter(Boolean).length;
      said.textContent = wanted.length ? `${number} of ${matches.flat().length} points` : hint;
      chart.redraw();
    });
    const hint = "Point at one, or use the arrow keys. Drag to enlarge, double-click to go back.";
    said.textContent = hint;
    fold.append(make("div", { className: "tools" }, ...buttons, make("label", {}, "Find ", find)), frame, said);

    const ticks = (_, __, low, high) => { // 1, 2 and 5 of every decade; of many decades, 1 alone
      const digits = Math.log10(high / low) > 4 ? [1] : [1, 2, 5];
      const decades = Array.from({ length: 16 }, (_, place) => 10 ** (place - 6));
      return decades.flatMap((decade) => digits.map((digit) => digit * decade)).filter((value) => value >= low && value <= high);
    };
    const axis = (label, size) => ({
      label, size, labelSize: 24, font: "12px sans-serif", labelFont: "13px sans-serif", stroke: () => colour("--ink"),
      grid: { stroke: () => colour("--rule"), width: 1 }, ticks: { stroke: () => colour("--rule"), width: 1 },
      splits: ticks,
      filter: (_, splits) => splits,
      values: (_, splits) => splits.map((value) => (value === null ? "" : shown(value))),
    });
    const range = (_, low, high) => [low / 1.05, high * 1.05];
    const size = () => ({ width: frame.clientWidth, height: Math.min(560, Math.max(320, 0.62 * frame.clientWidth)) });
    const chart = new uPlot({
      ...size(),
      mode: 2,
      legend: { show: false },
      cursor: { points: { show: false }, drag: { x: true, y: true, uni: 20 }, dataIdx: () => null },
      scales: { x: { time: false, distr: 3, range }, y: { distr: 3, range } },
      axes: [axis(view.x, 40), axis(view.y, 60)],
      series: [{}, ...view.series.map((series) => ({ label: series.name, stroke: series.colour, paths: paint, facets: [{ scale: "x", auto: true }, { scale: "y", auto: true }] }))],
      hooks: {
        draw: [guides],
        setScale: [() => tell(null)],
        setCursor: [(u) => { if (u.cursor.left >= 0) tell(nearest(u.cursor.left, u.cursor.top)); }],
      },
    }, [null, ...view.series.map((series) => [series.x, series.y])], frame);
    chart.over.append(mark);
    new ResizeObserver(() => { if (frame.clientWidth && frame.clientWidth !== chart.width) { chart.setSize(size()); tell(null); } }).observe(frame);
    const redrawn = () => chart.redraw(false, true);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawn);
    new MutationObserver(redrawn).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  };

  for (const fold of document.querySelectorAll("[data-points]")) {
    const view = JSON.parse(fold.querySelector("script").textContent);
    if (!view.series.length) continue;
    fold.hidden = false;
    fold.addEventListener("toggle", () => build(fold, view), { once: true });
  }
})();
