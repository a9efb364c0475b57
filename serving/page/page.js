// The page's wiring: what is dropped or chosen becomes items, items become rows.

import { checked, classFolders, correctedCsv } from "./corrections.js";
import { chosen, dropped, samples, withoutArchives } from "./files.js";
import { fileOf, showCard } from "./model.js";
import { Pace } from "./pace.js";
import { Queue, Refusal, ask } from "./queue.js";
import { element, fill } from "./row.js";
import { csv, sorted, totals } from "./table.js";

const at = (id) => document.getElementById(id);
const key = () => at("key").value.trim();
const busy = () => items.some(({ result }) => !result);
const plural = (count) => `${count} chip${count === 1 ? "" : "s"}`;

let items = [];
let classes = [];
let queue = null;
let order = { key: "order", down: false };
let pending = false; // a drawing of totals and order is due
const pace = new Pace();

/** Ask what model answers and which limits hold; the page is of no use before. */
async function connect() {
  try {
    const info = await ask("v1/model", { key, wait: sayWait });
    const { card, limits } = info;
    classes = card.classes;
    queue = new Queue({ answer, key, limits, wait: sayWait });
    at("classes").textContent = new Intl.ListFormat("en-GB").format(classes);
    const coverage = Math.round(100 * card.trust.coverage);
    at("model").textContent = `Model ${card.name} ${card.version}. The prediction set holds the `
      + `true class for ${coverage} % of chips like those of training.`;
    showCard(at("about-model"), card);
    if (key()) at("card").href = fileOf(info); // a link cannot send the key
    at("limit").textContent = `, up to ${Math.floor(limits.max_bytes / 2 ** 20) || "less than 1"} MiB each`;
    say("");
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    askForKey(error);
    say(`${error.message} (${error.code})`);
  }
}

function askForKey({ status, code }) {
  if (status !== 401 && code !== "unauthorised") return;
  at("key-field").hidden = false;
  at("key").focus();
}

/** Options as form fields; null where a field cannot be right. */
function chosenOptions() {
  const spacing = at("spacing").value.trim();
  const number = "\\d*\\.?\\d+";
  if (spacing && !new RegExp(`^${number}(\\s*x\\s*${number})?$`, "i").test(spacing)) {
    at("spacing").setAttribute("aria-invalid", "true");
    at("spacing").focus();
    say(`Pixel spacing “${spacing}”: expected 10 or 13.93x3.87, with points and not commas.`);
    return null;
  }
  at("spacing").removeAttribute("aria-invalid");
  const given = { pixel_spacing_m: spacing };
  for (const name of ["polarisation", "quantity"]) given[name] = at(name).value;
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value));
}

/** Classify files, with the options of the form unless others are given. */
async function add(files, options = chosenOptions) {
  const [chips, advice] = withoutArchives(files);
  for (const archive of advice) notice(...archive);
  if (chips.length === 0) return;
  if (queue === null) await connect();
  const given = options();
  if (queue === null || given === null) return;
  if (!busy()) pace.start();
  const first = items.length;
  const added = chips.map(({ file, path }, i) => ({
    file, path, order: first + i, options: given, result: null, right: "", row: element("tr"),
  }));
  items.push(...added);
  for (const item of added) fill(item, classes, draw);
  at("rows").append(...added.map(({ row }) => row));
  queue.add(added);
  draw();
}

function answer(item, result) {
  item.result = result;
  pace.answered();
  fill(item, classes, draw);
  askForKey(result.error ?? {});
  draw();
}

/** Totals, progress and order, at most once a frame. */
function draw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    const done = items.filter(({ result }) => result).length;
    at("answers").hidden = items.length === 0;
    at("progress").hidden = !busy();
    at("progress").value = items.length ? done / items.length : 0;
    at("csv").disabled = done === 0;
    at("again").disabled = busy();
    const picked = checked(items).length;
    for (const id of ["corrected", "folders"]) at(id).disabled = picked === 0;
    at("picked").textContent = picked ? `${plural(picked)} with a right class.` : "";
    at("totals").replaceChildren(...[...totals(items, classes), ...pace.tiles()].map(total));
    if (items.length) say(busy() ? `${done} of ${plural(items.length)} answered …` : `${plural(done)} answered.`);
    arrange();
  });
}

function total([name, count, kind]) {
  return element("div", { class: `total ${kind}` }, element("dt", {}, name), element("dd", {}, String(count)));
}

/** Put the rows in order, moving as few as are out of place, so that the focus stays. */
function arrange() {
  const rows = at("rows");
  sorted(items, order.key, order.down).forEach(({ row }, i) => {
    if (rows.children[i] !== row) rows.insertBefore(row, rows.children[i] ?? null);
  });
  for (const button of document.querySelectorAll("th button")) {
    const direction = order.down ? "descending" : "ascending";
    if (button.dataset.key === order.key) button.parentElement.setAttribute("aria-sort", direction);
    else button.parentElement.removeAttribute("aria-sort");
  }
}

function say(text) {
  if (at("status").textContent !== text) at("status").textContent = text;
}

function sayWait(seconds) {
  say(`The server is busy; asking again in ${Math.ceil(seconds)} s.`);
}

/** A file that cannot be classified here; its line stays until Clear. */
function notice(path, text, command) {
  const line = element("p", {}, element("strong", {}, path), ` ${text}`);
  if (command) line.append(element("code", {}, command));
  at("notices").append(line);
}

function save(name, blob) {
  const link = element("a", { download: name });
  link.href = URL.createObjectURL(blob);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function saveCsv(name, write) {
  save(name, new Blob([write(sorted(items, order.key, order.down), classes)], { type: "text/csv" }));
}

async function saveFolders() {
  try {
    save("corrected.zip", await classFolders(items, classes));
  } catch (error) { // too much for a zip, or a file that has gone since
    say(`No zip: ${error.message}`);
  }
}

/** Samples are of several sensors, so what the form says of the user's own chips is not sent. */
async function trySamples() {
  at("samples").disabled = true;
  try {
    say("Fetching simulated chips …");
    await add(await samples(await ask("demo/samples", { key, wait: sayWait })), () => ({}));
  } catch (error) {
    say(`No samples: ${error.message}`);
  } finally {
    at("samples").disabled = false;
  }
}

function runAgain() {
  const given = chosenOptions();
  if (given === null) return;
  if (!busy()) pace.start();
  for (const item of items) {
    Object.assign(item, { result: null, options: given });
    fill(item, classes, draw);
  }
  queue.add(items);
  draw();
}

function clear() {
  queue.clear();
  items = [];
  for (const id of ["rows", "notices"]) at(id).replaceChildren();
  draw();
  say("");
  at("pick-files").focus();
}

async function drop(event) {
  event.preventDefault();
  at("drop").classList.remove("over");
  try {
    await add(await dropped(event.dataTransfer));
  } catch (error) {
    say(`The browser cannot read what was dropped: ${error.message}`);
  }
}

function listen() {
  for (const name of ["files", "folder"]) {
    at(`pick-${name}`).addEventListener("click", () => at(name).click());
    at(name).addEventListener("change", () => add(chosen(at(name))));
  }
  at("pick-folder").hidden = !("webkitdirectory" in at("folder"));
  // The whole page takes drops: beside the field the browser would open the file instead.
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    at("drop").classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) at("drop").classList.remove("over");
  });
  document.addEventListener("drop", drop);
  const acts = {
    csv: () => saveCsv("shipchip.csv", csv),
    corrected: () => saveCsv("corrected.csv", correctedCsv),
    folders: saveFolders,
    again: runAgain,
    samples: trySamples,
    clear,
  };
  for (const [id, act] of Object.entries(acts)) at(id).addEventListener("click", act);
  at("maps").addEventListener("click", () => {
    const shown = at("answers").classList.toggle("all-maps");
    at("maps").setAttribute("aria-pressed", String(shown));
  });
  at("key").addEventListener("change", () => queue ?? connect());
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const { key: wanted } = button.dataset;
      order = { key: wanted, down: order.key === wanted && !order.down };
      arrange();
    });
  }
}

listen();
await connect();
