// The pages read without this. It adds: sorting, filtering, search, the colour scheme, and the mark in the contents.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Colour scheme: the system's, until somebody chooses.
  const toggle = document.querySelector("[data-theme-toggle]");
  const root = document.documentElement;
  const remembered = (value) => {
    try { return value ? localStorage.setItem("tilecast-theme", value) : localStorage.getItem("tilecast-theme"); }
    catch { return null; } // a page opened from a disk may not be allowed to remember
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const show = () => { toggle.textContent = isDark() ? "Light" : "Dark"; }; // what pressing it gives
  if (["dark", "light"].includes(remembered())) root.dataset.theme = remembered();
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  show();

  // Sorting: numbers as numbers, empty and worded cells always last; equal cells keep their order.
  const key = (row, column) => {
    const cell = row.cells[column];
    const text = (cell?.dataset.value ?? cell?.textContent ?? "").trim();
    const value = Number(text.replace(/[,\s%]/g, "").replace("\u2212", "-"));
    return { text, value: text === "" || Number.isNaN(value) ? null : value, absent: !!cell?.matches(".absent, :has(> .absent)") };
  };
  const compare = (a, b, sign) => {
    if (a.absent !== b.absent) return a.absent ? 1 : -1;
    if (a.value !== null && b.value !== null) return sign * (a.value - b.value);
    if ((a.value === null) !== (b.value === null)) return a.value === null ? 1 : -1;
    return sign * a.text.localeCompare(b.text, "en", { numeric: true });
  };
  for (const table of all("table[data-sortable]")) {
    const heads = all(":scope > thead > tr:last-child > th", table);
    const body = table.tBodies[0];
    if (!body || body.rows.length < 2 || all(":scope > * > tr > [colspan], :scope > * > tr > [rowspan]", table).length) continue;
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        const keyed = [...body.rows].map((row) => [key(row, column), row]);
        keyed.sort((a, b) => compare(a[0], b[0], ascending ? 1 : -1));
        body.append(...keyed.map(([, row]) => row));
      });
    });
  }

  // Long tables: the first rows, until all are asked for. A claim is a group of two rows.
  const parts = (table) => (table.tBodies.length > 1 || table.matches(".claims") ? [...table.tBodies] : [...(table.tBodies[0]?.rows ?? [])]);
  const FIRST = 12;
  for (const table of all("table[data-sortable]")) {
    const rest = parts(table).slice(FIRST);
    if (rest.length < 4) continue;
    const more = document.createElement("button");
    more.type = "button";
    more.className = "more-rows";
    more.textContent = `Show all ${rest.length + FIRST} rows`;
    table.classList.add("short");
    more.addEventListener("click", () => { table.classList.remove("short"); more.remove(); });
    (table.closest(".scroll") ?? table).after(more);
  }

  // Filtering: every word must occur.
  for (const tools of all("[data-tools]")) {
    const table = document.getElementById(tools.dataset.tools);
    if (!table) continue;
    const search = tools.querySelector("[data-search]");
    const count = tools.querySelector("[data-count]");
    const rows = parts(table).map((row) => [row, row.textContent.toLowerCase()]);
    const apply = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const [row, text] of rows) {
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      table.classList.toggle("found", words.length > 0);
      count.textContent = words.length ? `${shown} of ${rows.length}` : "";
    };
    search.addEventListener("input", apply);
    tools.hidden = false;
  }

  // Search over the whole report: its sections, parts, claims, figures, tables and terms.
  const form = document.querySelector("[data-report-search]");
  const [asked, list] = [form.querySelector("input"), form.querySelector("ol")];
  const entries = JSON.parse(document.getElementById("report-entries").textContent);
  const texts = entries.map((entry) => entry.words.toLowerCase());
  form.hidden = false;
  form.addEventListener("submit", (event) => { event.preventDefault(); list.querySelector("a")?.click(); });
  asked.addEventListener("input", () => {
    const words = asked.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = words.length ? entries.filter((_, place) => words.every((word) => texts[place].includes(word))) : [];
    list.replaceChildren(...found.slice(0, 12).map((entry) => {
      const [item, link, where] = ["li", "a", "small"].map((tag) => document.createElement(tag));
      link.href = entry.to;
      link.textContent = entry.words;
      where.textContent = entry.in;
      link.append(where);
      item.append(link);
      return item;
    }));
    if (words.length && !found.length) list.append(Object.assign(document.createElement("li"), { textContent: "Nothing found" }));
    list.hidden = !words.length;
  });
  const close = () => { list.hidden = true; };
  list.addEventListener("click", close);
  addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });

  // A link to a claim, a row or a part shows it opened, whatever is folded away.
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.matches("tbody")) target.querySelector("details")?.setAttribute("open", "");
    if (target.matches("h3") && target.nextElementSibling) target.parentElement.querySelectorAll(`#${CSS.escape(target.id)} ~ details`)[0]?.setAttribute("open", "");
    for (let fold = target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();

  // Contents: mark the section being read.
  const links = new Map(all(".contents a").map((link) => [link.getAttribute("href").slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  for (const id of links.keys()) watcher.observe(document.getElementById(id));
})();
