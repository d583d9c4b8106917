"use strict";
(function () {
  const find = (selector) => document.querySelector(selector);
  const findAll = (selector, within) => Array.from((within || document).querySelectorAll(selector));
  const data = JSON.parse(find("#data").textContent);

  // --- the table ----------------------------------------------------------------------------------------------------

  const body = find("#board tbody");
  const heads = findAll("#board thead th");
  const rows = findAll("tr", body);
  const cell = (row, column) => findAll("[data-column]", row).find((c) => c.dataset.column === column);

  function sortBy(head) {
    const column = head.dataset.column;
    const numeric = head.classList.contains("number");
    const highFirst = numeric && column !== "rank" && column !== "predicted rank";
    const before = head.getAttribute("aria-sort");
    const descending = before === null ? highFirst : before === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const keys = new Map(rows.map((row) => [row, cell(row, column).dataset.sort]));
    const compare = (a, b) => {
      const x = keys.get(a), y = keys.get(b);
      if (x === "" || y === "") return (x === "") - (y === "");  // what is not known stands last either way
      const order = numeric ? Number(x) - Number(y) : x.localeCompare(y);
      return descending ? -order : order;
    };
    body.append(...rows.slice().sort(compare));
  }
  heads.forEach((head) => head.querySelector("button").addEventListener("click", () => sortBy(head)));

  function filter() {
    const words = find("#filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const most = find("#most").value === "" ? Infinity : Number(find("#most").value) * 1e6;
    let shown = 0;
    rows.forEach((row) => {
      const texts = findAll("td.word, th", row).map((c) => c.textContent + " " + (c.dataset.more || ""));
      const text = texts.join(" ").toLowerCase();
      const parameters = cell(row, "parameters");
      const count = parameters ? Number(parameters.dataset.sort || Infinity) : Infinity;
      row.hidden = !words.every((word) => text.includes(word)) || (most < Infinity && count > most) ||
        (row.classList.contains("failed") && !find("#failures").checked);
      shown += !row.hidden;
    });
    find("#count").textContent = shown + " of " + rows.length + " candidates";
  }
  ["#filter", "#most", "#failures"].forEach((selector) => find(selector).addEventListener("input", filter));

  findAll(".choices input").forEach((box) => box.addEventListener("change", () => {
    findAll("#board [data-column]").filter((c) => c.dataset.column === box.dataset.column)
      .forEach((c) => { c.hidden = !box.checked; });
  }));
  document.addEventListener("keydown", (event) => {
    const chooser = find(".chooser");
    if (event.key === "Escape" && chooser.open) {
      chooser.open = false;
      find(".chooser summary").focus();
    }
  });
  document.addEventListener("click", (event) => {
    if (!find(".chooser").contains(event.target)) find(".chooser").open = false;
  });

  const copy = find("#copy");
  if (copy) copy.addEventListener("click", () => {
    const selection = window.getSelection();
    selection.selectAllChildren(find("#code"));
    document.execCommand("copy");  // works from disk, where the clipboard interface may not
    selection.removeAllRanges();
    copy.textContent = "Copied";
  });

  // --- the charts ---------------------------------------------------------------------------------------------------

  const models = {};
  const model = (name) => Object.values(models).map((doc) => doc.get_model_by_name(name)).find(Boolean);

  function paint() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    Object.keys(models).forEach((name) => {
      const figure = model(name);
      figure.below.concat(figure.left).forEach((axis) => axis.setv({
        axis_label_text_color: colour("--text"), major_label_text_color: colour("--soft"),
        axis_line_color: colour("--line"), major_tick_line_color: colour("--line"), minor_tick_line_color: null,
      }));
      const labels = figure.renderers.find((r) => r.name === name + "-labels");
      if (labels) labels.glyph.text_color = { value: colour("--text") };
      figure.center.forEach((grid) => grid.setv({ grid_line_color: colour("--line") }));
    });
  }

  async function draw() {
    for (const [name, item] of Object.entries(data.charts)) {
      const views = await Bokeh.embed.embed_item(item, "chart-" + name);
      models[name] = (views.roots ? views.roots[0] : Object.values(views)[0]).model.document;
    }
    paint();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
    const cost = find("#cost-choice"), quality = find("#quality-choice");
    const change = () => {
      const choices = data.costs[quality.value];
      Array.from(cost.options).forEach((option) => { option.disabled = !(option.value in choices); });
      if (!(cost.value in choices)) cost.value = Object.keys(choices)[0];
      const choice = choices[cost.value], figure = model("cost");
      model("cost-points").data = choice.points;
      model("cost-front").data = choice.front;
      figure.below[0].axis_label = choice.label;
      figure.below[0].ticker.ticks = choice.ticks;
      figure.left[0].axis_label = choice.quality;
      find("#front-names").textContent = choice.names.join(", ");
    };
    if (cost) [cost, quality].forEach((select) => select.addEventListener("change", change));
    const colours = find("#map-choice");
    if (colours) colours.addEventListener("change", () => {
      const source = model("map-points");
      source.data = Object.assign({}, source.data, { colour: source.data[colours.value] });
      ["family_colour", "score_colour"].forEach((name) => { find("#legend-" + name).hidden = name !== colours.value; });
    });
    document.documentElement.dataset.drawn = "yes";
  }
  if (Object.keys(data.charts).length) draw();
  else document.documentElement.dataset.drawn = "yes";
})();
