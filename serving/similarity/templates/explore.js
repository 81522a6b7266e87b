// The page of `morph explore`. What is searched for is in the page's address, so it can be shared and the back button
// works; examples that are ticked are searched by when the button is pressed.

import { card, example, pictureUrl, refresh, showDetails } from "./cards.js";
import { Marks } from "./marks.js";

const $ = (id) => document.getElementById(id);
const PAGE = 60;
const EXAMPLES = ["like", "unlike", "vector"];

const hits = new Map();
let state = fromAddress();
let draft = examplesOf(state);
let running = new AbortController();
const marks = new Marks($("home").textContent, refreshAll, fail);

function fromAddress() {
  const given = new URLSearchParams(location.search);
  const lists = Object.fromEntries([...EXAMPLES, "where"].map((name) => [name, given.getAll(name)]));
  const n = Math.max(1, Math.trunc(Number(given.get("n"))) || PAGE);
  return { ...lists, cone: given.get("cone") || "", show: given.get("show") || "", seed: given.get("seed") || "", n };
}

function query(of) {
  const pairs = [...EXAMPLES, "where"].flatMap((name) => of[name].map((value) => [name, value]));
  for (const name of ["cone", "show", "seed"]) if (of[name]) pairs.push([name, of[name]]);
  if (of.n !== PAGE) pairs.push(["n", of.n]);
  return new URLSearchParams(pairs).toString();
}

function examplesOf(of) {
  return Object.fromEntries(EXAMPLES.map((name) => [name, [...of[name]]]));
}

const isSearch = (of) => EXAMPLES.some((name) => of[name].length);
const nothing = { like: [], unlike: [], vector: [], show: "", seed: "", n: PAGE };
const href = (change) => `?${query({ ...state, ...nothing, ...change })}`;

// Go to another state of the page: an entry of its own in the browser's history.
function go(change) {
  state = { ...state, n: PAGE, ...change };
  history.pushState(null, "", `?${query(state)}`);
  return search();
}

function search() {
  draft = examplesOf(state);
  if (state.show === "sample" && !state.seed) {
    // The address then shows the same galaxies to whom it is sent.
    state.seed = String(Math.floor(Math.random() * 1e6));
    history.replaceState(null, "", `?${query(state)}`);
  }
  const address = isSearch(state) ? "v1/similar" : "v1/galaxies";
  return run(() => fetch(`${address}?${query({ ...state, n: PAGE })}&n=${state.n}`, { signal: running.signal }));
}

// Ask the server and show what it finds; a search that is still running is given up.
async function run(ask) {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  document.body.classList.add("busy");
  $("problem").hidden = $("notes").hidden = true;
  renderSearch();
  const begun = performance.now();
  try {
    const answer = await ask();
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.error);
    render(content, performance.now() - begun);
    return content;
  } catch (error) {
    if (signal.aborted) return null;
    if (isSearch(state) || state.where.length || state.cone) render({ hits: [] });
    fail(error instanceof TypeError ? "The server does not answer; is `morph explore` still running?" : error.message);
    return null;
  } finally {
    if (!signal.aborted) document.body.classList.remove("busy");
  }
}

function fail(sentence) {
  $("problem").textContent = sentence;
  $("problem").hidden = false;
}

function heading() {
  if (!isSearch(state)) return state.show === "sample" ? "A random sample" : "The most anomalous galaxies";
  const [one] = state.like;
  const count = state.like.length + state.vector.length;
  const unlike = state.unlike.length ? `, unlike ${state.unlike.length === 1 ? state.unlike[0] : "others"}` : "";
  if (count > 1) return `Like ${count} galaxies${unlike}`;
  return `Like ${one || "your image"}${unlike}`;
}

function render(content, milliseconds) {
  const items = content.hits.map((hit) => {
    hits.set(hit.id, hit);
    return card(hit, href({ like: [hit.id] }));
  });
  $("hits").replaceChildren(...items);
  refreshAll();
  $("notes").textContent = (content.notes || []).join(" ");
  $("notes").hidden = !$("notes").textContent;
  const found = content.hits.length;
  $("more").hidden = found < state.n || found >= content.most;
  if (milliseconds === undefined) $("status").textContent = "";
  else if (!found) $("status").textContent = "No galaxy passes the filters; remove one, or widen it.";
  else $("status").textContent = `${found} ${found === 1 ? "galaxy" : "galaxies"}, in ${Math.round(milliseconds)} ms.`;
}

// The examples, the filters and the headings.
function renderSearch() {
  const remove = (kind, value) => () => {
    const left = { ...draft, [kind]: draft[kind].filter((each) => each !== value) };
    go({ ...left, show: "" });
  };
  const items = [
    ...draft.vector.map((value) => example("vector", value, stored(value), remove("vector", value))),
    ...draft.like.map((id) => example("like", id, pictureUrl(id), remove("like", id))),
    ...draft.unlike.map((id) => example("unlike", id, pictureUrl(id), remove("unlike", id))),
  ];
  $("chosen").replaceChildren(...items);
  $("none-chosen").hidden = items.length > 0;
  const pending = EXAMPLES.some((name) => draft[name].join("\n") !== state[name].join("\n"));
  $("search").hidden = !pending || !(draft.like.length + draft.vector.length);
  $("search").textContent = `Find galaxies like ${draft.like.length + draft.vector.length > 1 ? "these" : "this"}`;
  const conditions = state.where.map((text) => [text, { where: state.where.filter((each) => each !== text) }]);
  if (state.cone) conditions.push([`within ${state.cone.split(",")[2]}° of ${state.cone.split(",").slice(0, 2).join(", ")}`, { cone: "" }]);
  $("conditions").replaceChildren(...conditions.map(([text, change]) => condition(text, change)));
  $("heading").textContent = heading();
  document.title = `${heading()} · ${$("home").textContent}`;
  for (const link of document.querySelectorAll("[data-show]")) {
    const here = !isSearch(state) && (state.show || "anomalous") === link.dataset.show;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function condition(text, change) {
  const item = document.createElement("li");
  const words = document.createElement("span");
  words.textContent = text;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "×";
  button.setAttribute("aria-label", `Remove ${text}`);
  button.addEventListener("click", () => go(change));
  item.append(words, button);
  return item;
}

function refreshAll() {
  for (const item of $("hits").children) refresh(item, draft, marks);
}

function filter(condition) {
  if (!state.where.includes(condition)) go({ where: [...state.where, condition] });
}

// --- Examples ----------------------------------------------------------------------------------------------------

function tick(kind, id) {
  const other = kind === "like" ? "unlike" : "like";
  const has = draft[kind].includes(id);
  draft[kind] = has ? draft[kind].filter((each) => each !== id) : [...draft[kind], id];
  draft[other] = draft[other].filter((each) => each !== id);
  renderSearch();
  refreshAll();
}

// The picture of an image that was searched by, which only this tab has.
function stored(vector) {
  try {
    return sessionStorage.getItem(`picture:${vector}`);
  } catch {
    return null;
  }
}

async function upload(files) {
  const images = [...files];
  if (!images.length || $("file").disabled) return;
  const form = new FormData();
  for (const image of images) form.append("file", image, image.name || "image");
  draft = { like: [], unlike: [], vector: [] };
  const filters = query({ ...state, ...nothing });
  const content = await run(() => fetch(`v1/similar?${filters}&n=${PAGE}`, { method: "POST", body: form, signal: running.signal }));
  if (!content) return;
  const [vector] = content.vectors;
  try {
    sessionStorage.setItem(`picture:${vector}`, content.pictures[0]);
  } catch {
    // The page works without.
  }
  state = { ...state, ...nothing, vector: [vector] };
  draft = examplesOf(state);
  history.pushState(null, "", `?${query(state)}`);
  renderSearch();
  refreshAll();
}

async function find(text) {
  if (!text.trim()) return;
  const answer = await fetch(`v1/find?${new URLSearchParams({ q: text })}`).catch(() => null);
  if (!answer) return fail("The server does not answer; is `morph explore` still running?");
  const content = await answer.json();
  if (!answer.ok) return fail(content.error);
  $("query").value = "";
  go({ ...nothing, like: [content.id] });
}

// --- Events ------------------------------------------------------------------------------------------------------

function act(action, id) {
  if (action === "like" || action === "unlike") tick(action, id);
  else if (action === "mark") marks.toggle(id);
  else if (action === "details") showDetails($("details"), hits.get(id), href({ like: [id] }));
}

// Links within the page change its state instead of loading it again.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='?'], a#home");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  $("details").close();
  history.pushState(null, "", link.id === "home" ? "./" : link.href);
  state = fromAddress();
  search();
  window.scrollTo(0, 0);
  $("heading").focus({ preventScroll: true });
});

$("hits").addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button) act(button.dataset.action, button.closest(".hit").dataset.id);
});

// The buttons of a galaxy are reached by Tab where the focus is on it.
$("hits").addEventListener("focusin", (event) => {
  const here = event.target.closest(".hit");
  for (const button of $("hits").querySelectorAll("[data-action][tabindex='0']")) button.tabIndex = -1;
  for (const button of here.querySelectorAll("[data-action]")) button.tabIndex = 0;
});

function move(item, key) {
  const all = [...$("hits").children];
  const columns = all.filter((each) => each.offsetTop === all[0].offsetTop).length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  const next = item ? all[all.indexOf(item) + steps[key]] : all[0];
  if (next) {
    next.querySelector("a").focus();
    next.scrollIntoView({ block: "nearest" });
  }
  return Boolean(next);
}

const KEYS = { l: "like", u: "unlike", m: "mark", i: "details" };

document.addEventListener("keydown", (event) => {
  if (event.metaKey || event.ctrlKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, select, textarea")) return;
  const item = event.target.closest(".hit");
  let done = true;
  if (event.key.startsWith("Arrow") && (item || event.target === document.body || event.target === $("heading")))
    done = move(item, event.key);
  else if (event.key === "/") $("query").focus();
  else if (event.key === "?") $("help").showModal();
  else if (event.key === "s" && !$("search").hidden) $("search").click();
  else if (item && KEYS[event.key]) act(KEYS[event.key], item.dataset.id);
  else if (item && /^[1-9]$/.test(event.key)) done = marks.label(item.dataset.id, Number(event.key) - 1);
  else done = false;
  if (done) event.preventDefault();
});

function onSubmit(id, action) {
  const form = $(id);
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    action(form);
  });
}

onSubmit("find", () => find($("query").value));
onSubmit("by-answer", () => filter(`${$("answer").value} ${$("direction").value} ${$("probability").value}`));
onSubmit("by-magnitude", (form) => {
  const [name, low, high] = ["magnitude", "lowest", "highest"].map((id) => $(id).value);
  if (low !== "") filter(`${name} >= ${low}`);
  if (high !== "") filter(`${name} < ${high}`);
  form.reset();
  $("magnitude").value = name;
});
onSubmit("by-sky", (form) => {
  go({ cone: ["cone-ra", "cone-dec", "cone-radius"].map((id) => $(id).value).join(",") });
  form.reset();
});
onSubmit("by-text", (form) => {
  if ($("where").value.trim()) filter($("where").value.trim());
  form.reset();
});
$("search").addEventListener("click", () => go({ ...draft, show: "", seed: "" }));
$("more").addEventListener("click", () => {
  state = { ...state, n: state.n + PAGE };
  history.replaceState(null, "", `?${query(state)}`);
  search();
});
$("help-button").addEventListener("click", () => $("help").showModal());
$("file").addEventListener("change", () => {
  upload($("file").files);
  $("file").value = "";
});
window.addEventListener("popstate", () => {
  state = fromAddress();
  search();
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"])
  document.addEventListener(kind, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dropping", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") upload(event.dataTransfer.files);
  });
document.addEventListener("paste", (event) => upload(event.clipboardData?.files || []));

// On a narrow screen the galaxies come first.
if (window.matchMedia("(max-width: 52rem)").matches) $("filters").open = false;
marks.render();
search();
