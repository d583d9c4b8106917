"use strict";
(function () {
  const find = (selector) => document.querySelector(selector);
  const findAll = (selector, within) => Array.from((within || document).querySelectorAll(selector));

  // --- the table ----------------------------------------------------------------------------------------------------

  const heads = findAll("#board thead th");
  const body = find("#board tbody");
  const first = Array.from(body.rows);
  const place = (name) => heads.findIndex((head) => head.textContent === name);

  // A row of the markup is an element. One of the data is a class and cells, and becomes an element when it is shown.

  function ofElement(row) {
    const words = findAll(".w", row).map((cell) => cell.textContent + " " + (cell.title || cell.dataset.tip || ""));
    return {
      element: () => row,
      failed: row.classList.contains("failed"),
      key: (column) => {
        const cell = row.cells[column];
        return cell.dataset.s === undefined ? cell.textContent : cell.dataset.s;
      },
      words: words.join(" ").toLowerCase(),
    };
  }

  function ofData(tone, cells) {
    const parts = (column) => typeof cells[column] === "string" ? [cells[column]] : cells[column];
    const words = cells.map((_, i) => i).filter((i) => heads[i].classList.contains("w")).map((i) => {
      const [text, , , , , note, about] = parts(i);
      return [text, note, about].join(" ");
    });
    let made = null;
    return {
      element: () => made || (made = elementOf(tone, cells.map((_, i) => parts(i)))),
      failed: tone === "failed",
      key: (column) => {
        const [text, sort] = parts(column);
        return sort === "-" || text === "–" ? "" : sort || text.toLowerCase();
      },
      words: words.join(" ").toLowerCase(),
    };
  }

  function elementOf(tone, cells) {
    const row = document.createElement("tr");
    row.className = tone;
    cells.forEach(([text, , bar, own, link, note, about], i) => {
      const pinned = heads[i].classList.contains("pinned");
      const cell = document.createElement(pinned ? "th" : "td");
      if (pinned) cell.scope = "row";
      cell.className = heads[i].className + (own ? " " + own : "");
      if (about) cell.title = about;
      let inner = cell;
      if (link) {
        inner = document.createElement("a");
        inner.href = link;
        inner.rel = "noreferrer noopener";
      } else if (bar !== undefined && bar !== "") {
        inner = document.createElement("span");
        inner.className = "bar";
        inner.style.setProperty("--w", bar + "%");
      }
      inner.textContent = text;
      if (inner !== cell) cell.append(inner);
      if (note) {
        const small = document.createElement("small");
        small.textContent = note;
        cell.append(small);
      }
      row.append(cell);
    });
    return row;
  }

  const rest = find("#rest");
  const rows = first.map(ofElement);
  if (rest) rows.push(...JSON.parse(rest.textContent).map(([tone, ...cells]) => ofData(tone, cells)));
  const size = rest ? first.length : Infinity;
  let order = rows;
  let chosen = rows;
  let page = 0;

  function draw() {
    const pages = Math.max(Math.ceil(chosen.length / size), 1);
    page = Math.min(page, pages - 1);
    body.replaceChildren(...(rest ? chosen.slice(page * size, (page + 1) * size) : chosen).map((row) => row.element()));
    if (!rest) return;
    find("#previous").disabled = page === 0;
    find("#next").disabled = page === pages - 1;
    find("#page").textContent = "page " + (page + 1) + " of " + pages;
  }

  function button(id, text, step) {
    const made = document.createElement("button");
    made.type = "button";
    made.id = id;
    made.textContent = text;
    made.addEventListener("click", () => { page += step; draw(); });
    return made;
  }

  if (rest) {
    const text = document.createElement("span");
    text.id = "page";
    text.setAttribute("role", "status");
    find("#pages").replaceChildren(button("previous", "Previous", -1), text, button("next", "Next", 1));
    draw();
  }

  function sortBy(head) {
    const column = heads.indexOf(head);
    const numeric = head.classList.contains("n");
    const highFirst = numeric && !["rank", "predicted rank"].includes(head.textContent);
    const before = head.getAttribute("aria-sort");
    const descending = before === null ? highFirst : before === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const keys = new Map(rows.map((row) => [row, row.key(column)]));
    const compare = (a, b) => {
      const x = keys.get(a), y = keys.get(b);
      if (x === "" || y === "") return (x === "") - (y === "");  // what is not known stands last either way
      const order = numeric ? Number(x) - Number(y) : x.localeCompare(y);
      return descending ? -order : order;
    };
    order = rows.slice().sort(compare);
    filter();
  }
  heads.forEach((head) => head.querySelector("button").addEventListener("click", () => sortBy(head)));

  function filter() {
    const words = find("#filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const most = find("#most").value === "" ? Infinity : Number(find("#most").value) * 1e6;
    const parameters = place("parameters");
    chosen = order.filter((row) => {
      const count = parameters < 0 ? Infinity : Number(row.key(parameters) || Infinity);
      return words.every((word) => row.words.includes(word)) && !(most < Infinity && count > most) &&
        !(row.failed && !find("#failures").checked);
    });
    page = 0;
    draw();
    find("#count").textContent = chosen.length + " of " + rows.length + " candidates";
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
