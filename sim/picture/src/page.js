"use strict";
(() => {
  const run = document.getElementById("run"), tip = document.getElementById("tip");
  const head = document.getElementById("head"), body = document.getElementById("body");
  const axis = document.getElementById("axis"), grid = document.getElementById("grid"), hair = document.getElementById("hair");
  const start = +run.dataset.start, end = +run.dataset.end, gutter = +run.dataset.gutter, edge = +run.dataset.edge;
  const bodyHeight = +body.getAttribute("height"), headHeight = +head.getAttribute("height");
  const SVG = "http://www.w3.org/2000/svg";
  const LEAST = 200; // microseconds from edge to edge
  let from = start, until = end, plot = 1000, pointer = null, drawing = 0;

  // Replaces the browser's tooltips.
  for (const title of document.querySelectorAll("main title")) {
    title.parentNode.told = title.textContent;
    title.remove();
  }

  // Reads every element with a time once.
  const numbers = text => text.split(" ").map(Number);
  const rects = [], marks = [], labels = [], curves = [], arrows = [], acts = [];
  for (const el of run.querySelectorAll("[data-t]")) {
    const t = numbers(el.dataset.t);
    if (t.length === 2) rects.push([el, t[0], t[1]]);
    else if (el.classList.contains("act")) acts.push([el, t[0], el.querySelector("text").getComputedTextLength()]);
    else marks.push([el, t[0], (el.getAttribute("transform").match(/[ ,]([-\d.]+)\)/) || [0, 0])[1]]);
  }
  for (const el of run.querySelectorAll("[data-l]")) labels.push([el, ...numbers(el.dataset.l)]);
  for (const el of run.querySelectorAll("[data-curve]"))
    curves.push([el, el.dataset.curve.split(" ").map(p => p.split(",").map(Number))]);
  for (const el of run.querySelectorAll("[data-arrow]")) arrows.push([el, ...numbers(el.dataset.arrow)]);

  const flag = run.querySelector(".flag");
  const flagWidth = flag ? flag.querySelector("text").getComputedTextLength() + 14 : 0;
  flag?.querySelector("rect").setAttribute("width", flagWidth);

  const x = t => gutter + (t - from) / (until - from) * plot;
  const time = px => from + (px - gutter) / plot * (until - from);
  const show = (el, yes) => { const d = yes ? "" : "none"; if (el.style.display !== d) el.style.display = d; };

  function draw() {
    drawing = 0;
    const right = gutter + plot + edge;
    for (const [el, a, b] of rects) {
      const seen = b >= from && a <= until;
      show(el, seen);
      if (!seen) continue;
      // Clamped to just outside the view, to keep numbers small.
      const l = Math.max(x(a), gutter - 50), r = Math.min(x(b), right + 50);
      el.setAttribute("x", l.toFixed(2));
      el.setAttribute("width", Math.max(r - l, 1).toFixed(2));
    }
    for (const [el, t, y] of marks) {
      const seen = t >= from && t <= until;
      show(el, seen);
      if (seen) el.setAttribute("transform", `translate(${x(t).toFixed(2)} ${y})`);
    }
    // The flag points left if there is no room on the right.
    if (flag) flag.querySelector("g").setAttribute("transform", x(+run.dataset.broken) + flagWidth > right ? `translate(${-flagWidth} 0)` : "");
    for (const [el, a, b, w] of labels) {
      const l = Math.max(x(a), gutter), r = Math.min(x(b), right), fits = r - l >= w + 7;
      el.removeAttribute("display");
      show(el, fits);
      if (fits) el.setAttribute("x", (l + 4).toFixed(1));
    }
    for (const [el, points] of curves)
      el.setAttribute("d", "M" + points.map(([t, y]) => `${Math.max(-1e5, Math.min(1e5, x(t))).toFixed(2)} ${y}`).join("L"));
    for (const [el, a, y1, b, y2] of arrows) {
      const seen = b >= from && a <= until;
      show(el, seen);
      if (!seen) continue;
      const p = Math.max(x(a), -1e4), q = Math.min(x(b), 1e4), bend = Math.max(14, Math.min(60, Math.abs(q - p)));
      el.setAttribute("d", `M${p.toFixed(1)} ${y1}C${(p + bend).toFixed(1)} ${y1} ${(q - bend).toFixed(1)} ${y2} ${q.toFixed(1)} ${y2}`);
    }
    flags();
    ruler();
    cross();
  }

  // Labels of faults and repairs come first; others where there is room.
  const loudFirst = [...acts].sort((a, b) => a[0].classList.contains("quiet") - b[0].classList.contains("quiet"));
  function flags() {
    const rows = [[], [], []];
    for (const [el, t, w] of loudFirst) {
      const seen = t >= from && t <= until, at = x(t);
      show(el, seen);
      if (!seen) continue;
      const free = width => rows.findIndex(row => row.every(([l, r]) => at + width < l || at - 4 > r));
      const wide = free(w + 12), row = wide >= 0 ? wide : Math.max(free(6), 0);
      show(el.querySelector("text"), wide >= 0);
      rows[row].push([at, at + (wide >= 0 ? w + 12 : 6)]);
      el.setAttribute("transform", `translate(${at.toFixed(1)} ${24 + 14 * row})`);
    }
  }

  const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7, 1.5e7,
    3e7, 6e7, 1.2e8, 3e8, 6e8, 9e8, 1.8e9, 3.6e9, 7.2e9, 1.44e10, 2.88e10, 8.64e10];
  function clock(us, step) {
    const s = Math.floor(us / 1e6), h = Math.floor(s / 3600), two = n => String(n).padStart(2, "0");
    const whole = (h ? h + ":" + two(Math.floor(s / 60) % 60) : Math.floor(s / 60)) + ":" + two(s % 60);
    const digits = step >= 1e6 ? 0 : step >= 1e3 ? 3 : 6;
    return digits ? whole + "." + String(Math.round(us % 1e6)).padStart(6, "0").slice(0, digits) : whole;
  }
  const stepFor = px => STEPS.find(s => s / (until - from) * plot >= px) || STEPS[STEPS.length - 1];
  function ruler() {
    const step = stepFor(92);
    let lines = "", words = "";
    for (let t = Math.ceil(from / step) * step; t <= until; t += step) {
      const at = x(t).toFixed(1);
      lines += `M${at} 0V${bodyHeight}`;
      words += `<path d="M${at} 17V${headHeight}"/><text x="${at}" y="13" text-anchor="middle">${clock(t, step)}</text>`;
    }
    grid.innerHTML = `<path d="${lines || "M0 0"}"/>`;
    axis.innerHTML = words;
  }

  function cross() {
    const there = pointer && pointer[0] >= gutter && pointer[0] <= gutter + plot;
    hair.style.visibility = there ? "visible" : "hidden";
    axis.querySelectorAll(".now, .now-paper").forEach(el => el.remove());
    if (!there) return;
    hair.setAttribute("transform", `translate(${pointer[0]} 0)`);
    const text = document.createElementNS(SVG, "text"), paper = document.createElementNS(SVG, "rect");
    text.setAttribute("class", "now");
    paper.setAttribute("class", "now-paper");
    text.textContent = clock(time(pointer[0]), stepFor(92) / 10);
    const w = text.textContent.length * 6.6 + 8;
    for (const [name, value] of [["x", pointer[0] - w / 2], ["y", 2], ["width", w], ["height", 15]]) paper.setAttribute(name, value);
    for (const [name, value] of [["x", pointer[0]], ["y", 13], ["text-anchor", "middle"]]) text.setAttribute(name, value);
    axis.append(paper, text);
  }

  const later = () => { drawing ||= requestAnimationFrame(draw); };
  function view(a, b) {
    const width = Math.min(Math.max(b - a, LEAST), end - start);
    const middle = (a + b) / 2;
    from = Math.min(Math.max(middle - width / 2, start), end - width);
    until = from + width;
    later();
  }
  function zoom(factor, px) {
    const at = px === undefined ? (from + until) / 2 : time(px);
    const width = Math.max((until - from) * factor, LEAST);
    const part = (at - from) / (until - from);
    view(at - width * part, at + width * (1 - part));
  }
  const shift = part => view(from + (until - from) * part, until + (until - from) * part);
  const all = () => view(start, end);
  function broken() {
    if (run.dataset.broken === undefined) return;
    const at = +run.dataset.broken, width = Math.min((end - start) / 4, 2e7);
    view(at - width / 2, at + width / 2);
  }
  function theme() {
    const root = document.documentElement;
    const dark = root.classList.contains("dark") || (!root.classList.contains("light") && matchMedia("(prefers-color-scheme: dark)").matches);
    root.classList.toggle("dark", !dark);
    root.classList.toggle("light", dark);
  }

  // Pointer events.
  const place = e => e.clientX - run.getBoundingClientRect().left;
  let grab = null;
  run.addEventListener("wheel", e => {
    if (place(e) < gutter) return;
    e.preventDefault();
    if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) shift((e.deltaX || e.deltaY) / 1500);
    else zoom(Math.exp(Math.max(-120, Math.min(120, e.deltaY)) / 300), place(e));
  }, { passive: false });
  run.addEventListener("pointerdown", e => {
    if (e.button !== 0) return;
    grab = { x: e.clientX, y: e.clientY, from, until };
    run.classList.add("drag");
    run.setPointerCapture(e.pointerId);
  });
  run.addEventListener("pointermove", e => {
    pointer = [place(e), e.clientY];
    if (grab) {
      const moved = (e.clientX - grab.x) / plot * (grab.until - grab.from);
      view(grab.from - moved, grab.until - moved);
      scrollBy(0, grab.y - e.clientY);
      grab.y = e.clientY;
    } else point(e);
    if (!drawing) cross();
  });
  const release = () => { grab = null; run.classList.remove("drag"); };
  run.addEventListener("pointerup", release);
  run.addEventListener("pointercancel", release);
  run.addEventListener("pointerleave", () => { pointer = null; hide(); cross(); });
  run.addEventListener("dblclick", e => zoom(0.35, place(e)));

  // Details of the element under the pointer.
  const focus = document.head.appendChild(document.createElement("style"));
  let key = null;
  function hide() { tip.hidden = true; lift(null); }
  function lift(k) {
    if (k === key) return;
    key = k;
    focus.textContent = k === null ? "" : `[data-k]:not([data-k="${k}"]) { opacity: .22 } .arrow[data-k="${k}"] { stroke-width: 2.6; opacity: 1 }`;
  }
  function point(e) {
    let el = e.target;
    lift(el.closest("[data-k]")?.dataset.k ?? null);
    while (el && el !== run && el.told === undefined) el = el.parentNode;
    if (!el || el.told === undefined) { tip.hidden = true; return; }
    const lines = el.told.split("\n"), timed = lines.findIndex(line => /^\d+:\d\d/.test(line));
    tip.replaceChildren(...lines.map((line, n) => {
      const out = document.createElement(n < timed || (timed < 0 && n === 0) ? "b" : n === timed ? "i" : "span");
      out.textContent = line + (n + 1 < lines.length ? "\n" : "");
      return out;
    }));
    tip.hidden = false;
    const box = tip.getBoundingClientRect(), gap = 14;
    const left = e.clientX + gap + box.width > innerWidth ? e.clientX - gap - box.width : e.clientX + gap;
    const top = e.clientY + gap + box.height > innerHeight ? e.clientY - gap - box.height : e.clientY + gap;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = Math.max(4, top) + "px";
  }

  // Keys and buttons.
  const keys = { "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), "0": all, v: broken, t: theme,
    ArrowLeft: () => shift(-0.2), ArrowRight: () => shift(0.2) };
  addEventListener("keydown", e => {
    if (e.ctrlKey || e.metaKey || e.altKey || !keys[e.key]) return;
    e.preventDefault();
    keys[e.key]();
  });
  const buttons = { in: () => zoom(0.6), out: () => zoom(1 / 0.6), all, broken, theme };
  for (const [id, act] of Object.entries(buttons)) document.getElementById(id)?.addEventListener("click", act);

  function fit() {
    const width = Math.max(640, run.clientWidth);
    plot = width - gutter - edge;
    for (const svg of [head, body]) {
      svg.setAttribute("width", width);
      svg.querySelector(".plot").setAttribute("width", plot + edge);
    }
    later();
  }
  new ResizeObserver(fit).observe(run);
  fit();
  // `#from-until` in seconds opens a part of the run.
  const part = location.hash.match(/^#([\d.]+)-([\d.]+)$/);
  if (part) view(part[1] * 1e6, part[2] * 1e6);
  if (location.hash === "#dark") theme();
})();
