// The page reads without this. It adds: sorting, filtering, the colour scheme, and the mark in the contents.
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
  const show = () => toggle.setAttribute("aria-pressed", String(isDark()));
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

  // Filtering: every word must occur in the row, and every chosen value must be the row's.
  const resets = {};
  for (const tools of all("[data-tools]")) {
    const body = document.getElementById(tools.dataset.tools)?.tBodies[0];
    if (!body) continue;
    const search = tools.querySelector("[data-search]");
    const selects = all("[data-select]", tools);
    const count = tools.querySelector("[data-count]");
    const rows = [...body.rows].map((row) => [row, row.textContent.toLowerCase()]);
    const apply = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const [row, text] of rows) {
        const fits = words.every((word) => text.includes(word))
          && selects.every((select) => !select.value || row.dataset[select.dataset.select] === select.value);
        row.hidden = !fits;
        shown += fits;
      }
      count.textContent = `${shown} of ${rows.length} rows`;
    };
    const set = (values = {}) => {
      search.value = "";
      selects.forEach((select) => { select.value = values[select.dataset.select] ?? ""; });
      apply();
    };
    search.addEventListener("input", apply);
    selects.forEach((select) => select.addEventListener("change", apply));
    tools.querySelector("[data-reset]")?.addEventListener("click", () => set());
    resets[tools.dataset.tools] = set;
    tools.hidden = false;
    apply();
  }
  for (const link of all("[data-choose-verdict]"))
    link.addEventListener("click", () => resets["claims-table"]?.({ verdict: link.dataset.chooseVerdict }));

  // A link to a claim shows it opened, whatever was filtered or folded away.
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.hidden) resets["claims-table"]?.();
    if (target.matches("tr")) target.querySelector("details")?.setAttribute("open", "");
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

  // On paper every claim's reasons are open.
  addEventListener("beforeprint", () => all(".claims details").forEach((fold) => { fold.open = true; }));
})();
