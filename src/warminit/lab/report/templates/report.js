// page -> the same page alive: charts, light and dark, sorting, copies, downloads. No network.
(() => {
  "use strict";
  const root = document.documentElement;
  const study = document.body.dataset.study;
  const themes = JSON.parse(document.getElementById("themes").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map(); // chart element -> vega-embed's result

  // A browser may refuse storage to a page from disk; the page then forgets, and works.
  const memory = {
    get(name) { try { return window.localStorage.getItem(`warminit-${name}`); } catch { return null; } },
    set(name, value) { try { window.localStorage.setItem(`warminit-${name}`, value); } catch { /* forgets */ } },
  };

  let saying = 0;
  function say(text) {
    const status = document.getElementById("status");
    status.textContent = text;
    window.clearTimeout(saying);
    saying = window.setTimeout(() => { status.textContent = ""; }, 4000);
  }

  // ---------------------------------------------------------------- light and dark
  const toggle = document.getElementById("theme");
  function mode() { return root.dataset.theme || (dark.matches ? "dark" : "light"); }
  function showMode() { toggle.setAttribute("aria-pressed", String(mode() === "dark")); }
  function redraw() { showMode(); for (const element of [...drawn.keys()]) draw(element); }
  const kept = memory.get("theme");
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  showMode();
  toggle.addEventListener("click", () => {
    root.dataset.theme = mode() === "dark" ? "light" : "dark";
    memory.set("theme", root.dataset.theme);
    redraw();
  });
  dark.addEventListener("change", redraw);

  // ---------------------------------------------------------------- contents: beside, or folded above
  const contents = document.getElementById("contents");
  const wide = window.matchMedia("(min-width: 68rem)");
  function place() { contents.open = wide.matches; contents.firstElementChild.tabIndex = wide.matches ? -1 : 0; }
  wide.addEventListener("change", place);
  place();
  for (const link of contents.querySelectorAll("a")) {
    link.addEventListener("click", () => {
      const folded = document.getElementById(link.hash.slice(1)).parentElement.querySelector(":scope > details");
      if (folded) folded.open = true;
      if (!wide.matches) contents.open = false;
    });
  }

  // ---------------------------------------------------------------- charts
  function specOf(element) { return JSON.parse(document.getElementById(element.dataset.spec).textContent); }
  async function embed(element, config, theme) {
    // `ast` interprets expressions: the page's policy allows no text to become code.
    return window.vegaEmbed(element, specOf(element.dataset.spec ? element : element.chart), {
      renderer: "svg", actions: false, ast: true, logLevel: 1, config, tooltip: { theme },
    });
  }
  async function draw(element) {
    const before = drawn.get(element);
    drawn.set(element, null);
    try {
      const result = await embed(element, themes[mode()], mode());
      if (before) before.finalize();
      drawn.set(element, result);
      element.dataset.drawn = mode();
    } catch (error) {
      element.textContent = `This chart cannot be drawn: ${error.message}`;
    }
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
    }
  }, { rootMargin: "400px" });
  for (const element of document.querySelectorAll(".chart")) watcher.observe(element);

  // ---------------------------------------------------------------- paper: every chart, every table
  // Drawing takes longer than a browser waits for a page that is printed: charts that were not seen
  // are drawn while nothing else is to do, those in closed sections as still pictures.
  async function drawUnseen() {
    for (const element of document.querySelectorAll(".chart")) {
      if (drawn.has(element)) continue;
      if (element.clientWidth) { await draw(element); continue; }
      try {
        element.innerHTML = await chartSvg(element, document.querySelector("main").clientWidth / 2);
        element.dataset.drawn = "still";
      } catch (error) { element.textContent = `This chart cannot be drawn: ${error.message}`; }
    }
  }
  const whenIdle = window.requestIdleCallback || ((work) => window.setTimeout(work, 200));
  window.addEventListener("load", () => whenIdle(() => { drawUnseen(); }));
  const openedToPrint = [];
  window.addEventListener("beforeprint", () => {
    for (const closed of document.querySelectorAll("details:not([open])")) {
      closed.open = true;
      openedToPrint.push(closed);
    }
  });
  window.addEventListener("afterprint", () => {
    for (const closed of openedToPrint.splice(0)) closed.open = false;
  });

  // ---------------------------------------------------------------- downloads: light, on white
  function save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say(`Saved ${name}`);
  }
  async function chartSvg(chart, width = chart.clientWidth) {
    const place = document.createElement("div");
    place.style.cssText = `position:absolute;left:-10000px;width:${Math.max(width, 480)}px`;
    place.chart = chart;
    document.body.append(place);
    try {
      const result = await embed(place, { ...themes.light, background: "white" }, "light");
      const text = await result.view.toSVG();
      result.finalize();
      return text;
    } finally {
      place.remove();
    }
  }
  function panelsSvg(figure) {
    const name = "http://www.w3.org/2000/svg";
    const outer = document.createElementNS(name, "svg");
    let width = 12, height = 0;
    for (const panel of figure.querySelectorAll(".panels svg")) {
      const copy = panel.cloneNode(true);
      copy.setAttribute("x", width);
      copy.setAttribute("y", 12);
      width += Number(panel.getAttribute("width")) + 24;
      height = Math.max(height, Number(panel.getAttribute("height")));
      outer.append(copy);
    }
    const ground = document.createElementNS(name, "rect");
    for (const [key, value] of Object.entries({ width, height: height + 24, fill: "white" })) ground.setAttribute(key, value);
    outer.prepend(ground);
    for (const [key, value] of Object.entries({ width, height: height + 24, color: "#1b1f24" })) outer.setAttribute(key, value);
    return new XMLSerializer().serializeToString(outer);
  }
  async function toPng(svg) {
    const image = new Image();
    const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
    try {
      await new Promise((done, failed) => { image.onload = done; image.onerror = failed; image.src = address; });
      const canvas = document.createElement("canvas");
      canvas.width = image.naturalWidth * 3;
      canvas.height = image.naturalHeight * 3;
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      return await new Promise((done) => { canvas.toBlob(done, "image/png"); });
    } finally {
      URL.revokeObjectURL(address);
    }
  }
  for (const button of document.querySelectorAll(".download")) {
    button.addEventListener("click", async () => {
      const figure = document.getElementById(button.dataset.figure);
      const chart = figure.querySelector(".chart");
      const name = `${study}-${button.dataset.figure.replace("figure-", "")}`;
      try {
        const svg = chart ? await chartSvg(chart) : panelsSvg(figure);
        if (button.dataset.form === "SVG") save(new Blob([svg], { type: "image/svg+xml" }), `${name}.svg`);
        else save(await toPng(svg), `${name}.png`);
      } catch (error) {
        say(`It could not be saved: ${error.message || "the picture could not be drawn"}`);
      }
    });
  }

  // ---------------------------------------------------------------- tables
  function valueOf(cell) {
    const text = cell.dataset.value;
    const number = Number(text);
    return text !== "" && Number.isFinite(number) ? number : text;
  }
  function sortBy(heading) {
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((first, second) => {
      const a = valueOf(first.cells[column]), b = valueOf(second.cells[column]);
      if (a === "" || b === "") return (a === "") - (b === ""); // empty ones are last both ways
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  }
  for (const button of document.querySelectorAll(".sort")) {
    button.addEventListener("click", () => sortBy(button.closest("th")));
  }

  const LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}" };
  function latex(text) { return text.replace(/[\\~^<>]|[&%$#_{}]/g, (sign) => LATEX[sign] || `\\${sign}`); }
  function csv(text) { return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text; }
  function markdown(text) { return text.replace(/[\\|<>*_`[\]]/g, "\\$&").replace(/\s+/g, " "); }
  function copyOf(table, form) {
    const headings = [...table.tHead.rows[0].cells];
    const names = headings.map((cell) => cell.textContent.trim());
    const right = headings.map((cell) => cell.classList.contains("number"));
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells]);
    const shown = rows.map((row) => row.map((cell) => cell.textContent.trim()));
    if (form === "CSV") {
      const exact = rows.map((row) => row.map((cell) => cell.dataset.value));
      return [names, ...exact].map((row) => row.map(csv).join(",")).join("\n") + "\n";
    }
    if (form === "LaTeX") {
      const line = (row) => `${row.map(latex).join(" & ")} \\\\`;
      return [
        `\\begin{tabular}{${right.map((is) => (is ? "r" : "l")).join("")}}`, "\\toprule", line(names),
        "\\midrule", ...shown.map(line), "\\bottomrule", "\\end{tabular}", "",
      ].join("\n");
    }
    const line = (row) => `| ${row.join(" | ")} |`;
    return [
      line(names.map(markdown)), line(right.map((is) => (is ? "---:" : "---"))),
      ...shown.map((row) => line(row.map(markdown))), "",
    ].join("\n");
  }
  async function copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      if (!done) { say("The browser does not allow copying"); return; }
    }
    say(`Copied ${what}`);
  }
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", () => {
      copy(copyOf(document.getElementById(button.dataset.table), button.dataset.form), `the table as ${button.dataset.form}`);
    });
  }
  for (const button of document.querySelectorAll(".copy-text")) {
    const source = document.getElementById(button.dataset.source);
    button.addEventListener("click", () => copy(source.textContent, `the ${source.getAttribute("aria-label")}`));
  }
  const studyButton = document.getElementById("save-study");
  if (studyButton) {
    studyButton.addEventListener("click", () => {
      save(new Blob([document.getElementById("study-file").textContent], { type: "text/plain" }), "study.toml");
    });
  }

  // ---------------------------------------------------------------- an unfinished study
  const reload = document.getElementById("reload");
  if (reload) {
    reload.checked = memory.get("reload") !== "off";
    reload.addEventListener("change", () => memory.set("reload", reload.checked ? "on" : "off"));
    window.setInterval(() => { if (reload.checked && !document.hidden) window.location.reload(); }, 10000);
  }
})();
