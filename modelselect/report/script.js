"use strict";
(function () {
  const find = (selector) => document.querySelector(selector);
  const findAll = (selector, within) => Array.from((within || document).querySelectorAll(selector));

  // --- the table ----------------------------------------------------------------------------------------------------

  const heads = findAll("#board thead th");
  const rows = findAll("#board tbody tr");
  const place = (name) => heads.findIndex((head) => head.textContent === name);
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.s === undefined ? cell.textContent : cell.dataset.s;
  };

  function sortBy(head) {
    const column = heads.indexOf(head);
    const numeric = head.classList.contains("n");
    const highFirst = numeric && !["rank", "predicted rank"].includes(head.textContent);
    const before = head.getAttribute("aria-sort");
    const descending = before === null ? highFirst : before === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const keys = new Map(rows.map((row) => [row, key(row, column)]));
    const compare = (a, b) => {
      const x = keys.get(a), y = keys.get(b);
      if (x === "" || y === "") return (x === "") - (y === "");  // what is not known stands last either way
      const order = numeric ? Number(x) - Number(y) : x.localeCompare(y);
      return descending ? -order : order;
    };
    find("#board tbody").append(...rows.slice().sort(compare));
  }
  heads.forEach((head) => head.querySelector("button").addEventListener("click", () => sortBy(head)));

  function filter() {
    const words = find("#filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const most = find("#most").value === "" ? Infinity : Number(find("#most").value) * 1e6;
    const parameters = place("parameters");
    let shown = 0;
    rows.forEach((row) => {
      const texts = findAll(".w", row).map((cell) => cell.textContent + " " + (cell.title || cell.dataset.tip || ""));
      const text = texts.join(" ").toLowerCase();
      const count = parameters < 0 ? Infinity : Number(key(row, parameters) || Infinity);
      row.hidden = !words.every((word) => text.includes(word)) || (most < Infinity && count > most) ||
        (row.classList.contains("failed") && !find("#failures").checked);
      shown += !row.hidden;
    });
    find("#count").textContent = shown + " of " + rows.length + " candidates";
  }
  ["#filter", "#most", "#failures"].forEach((selector) => find(selector).addEventListener("input", filter));

  // --- copying ------------------------------------------------------------------------------------------------------

  findAll(".copy").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => {
      const selection = window.getSelection();
      selection.selectAllChildren(button.parentElement.querySelector("code"));
      document.execCommand("copy");  // works from disk, where the clipboard interface may not
      selection.removeAllRanges();
      button.textContent = "Copied";
    });
  });

  // --- tooltips: by mouse, by keyboard, by finger -------------------------------------------------------------------

  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);

  function explained(target) {
    const element = target.closest("[title], [data-tip], circle, .star");
    if (!element) return null;
    const own = element.querySelector(":scope > title");
    const text = element.dataset.tip || element.getAttribute("title") || (own && own.textContent);
    if (!text) return null;
    if (!element.dataset.tip) {  // the browser's own tooltip would cover this one
      element.dataset.tip = text;
      element.setAttribute(own ? "aria-label" : "aria-description", text);
      element.removeAttribute("title");
      if (own) own.remove();
    }
    return element;
  }

  let shown = null;

  function show(event) {
    shown = explained(event.target);
    tip.hidden = !shown;
    if (shown) tip.textContent = shown.dataset.tip;
    move();
  }

  function move() {
    if (!shown) return;
    const box = shown.getBoundingClientRect();
    const left = Math.min(Math.max(box.left + box.width / 2 - tip.offsetWidth / 2, 4), innerWidth - tip.offsetWidth - 4);
    tip.style.left = left + "px";
    tip.style.top = (box.top > tip.offsetHeight + 8 ? box.top - tip.offsetHeight - 6 : box.bottom + 6) + "px";
  }
  ["mouseover", "focusin"].forEach((name) => document.addEventListener(name, show));
  document.addEventListener("focusout", () => { tip.hidden = true; });
  document.addEventListener("scroll", move, true);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

  document.documentElement.dataset.drawn = "yes";
})();
