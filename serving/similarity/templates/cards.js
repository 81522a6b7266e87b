// Galaxies as elements of the page. Text is set as text, never as HTML: ids and answers come from elsewhere.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key === "class") made.className = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const pictureUrl = (id) => `v1/picture?id=${encodeURIComponent(id)}`;

// The picture of a galaxy, loaded when it comes into view; a few words where there is none.
export function picture(source) {
  const blank = element("span", { class: "blank" }, "no picture");
  if (!source) return blank;
  const image = element("img", { src: source, alt: "", loading: "lazy", decoding: "async", width: 168, height: 168 });
  image.addEventListener("error", () => image.replaceWith(blank));
  return image;
}

const fixed = (value, digits) => (value === null || value === undefined ? "" : value.toFixed(digits));

function measured(hit) {
  const [name, value] = Object.entries(hit.measured).find(([key]) => key === "mag_r") || [];
  const magnitude = name && value !== null ? `r = ${fixed(value, 1)}` : "";
  const radius = hit.measured.radius ? `${fixed(hit.measured.radius, 1)}″` : "";
  return [magnitude, radius].filter(Boolean).join(", ");
}

function described(hit) {
  const similar = hit.similarity === undefined ? "" : `, similarity ${fixed(hit.similarity, 2)}`;
  return `${hit.id}${similar}${hit.summary ? `, ${hit.summary}` : ""}${hit.anomaly ? ", anomalous" : ""}`;
}

// A galaxy in the list: its picture leads to its own neighbours.
export function card(hit, href) {
  const frame = element(
    "a",
    { class: "frame", href, "aria-label": `Galaxies like ${described(hit)}`, title: hit.id },
    picture(hit.picture && pictureUrl(hit.id)),
    hit.similarity === undefined ? null : element("span", { class: "score" }, fixed(hit.similarity, 3)),
    hit.anomaly ? element("span", { class: "odd", title: `p = ${hit.anomaly_score}` }, "anomalous") : null,
  );
  const text = element(
    "div",
    { class: "text" },
    element("span", { class: "summary", title: hit.summary || null }, hit.summary || ""),
    element("span", { class: "facts-line" }, measured(hit)),
    element("span", { class: "id", title: hit.id }, hit.id),
    element("span", { class: "labels" }),
  );
  const button = (action, sign, name, extra = "") =>
    element(
      "button",
      { type: "button", "data-action": action, "aria-label": `${name}: ${hit.id}`, title: name, class: extra, tabindex: -1 },
      sign,
    );
  const buttons = element(
    "div",
    { class: "buttons" },
    button("like", "+", "More like this"),
    button("unlike", "−", "Unlike this", "minus"),
    button("mark", "★", "Mark"),
    button("details", "i", "All answers"),
  );
  return element("li", { class: "hit", "data-id": hit.id }, frame, text, buttons);
}

// Show which galaxies are examples and which are marked.
export function refresh(item, draft, marked) {
  const id = item.dataset.id;
  const pressed = { like: draft.like.includes(id), unlike: draft.unlike.includes(id), mark: marked.has(id) };
  for (const [action, value] of Object.entries(pressed))
    item.querySelector(`[data-action=${action}]`).setAttribute("aria-pressed", String(value));
  item.classList.toggle("marked-hit", pressed.mark);
  const labels = Object.values(marked.labels(id)).map((answer) => element("span", { class: "label" }, answer));
  item.querySelector(".labels").replaceChildren(...labels);
}

// An example by which is searched, with a button that removes it.
export function example(kind, value, source, remove) {
  const name = kind === "vector" ? "your image" : value;
  const frame = element("span", { class: "frame" }, picture(source));
  const button = element("button", { type: "button", class: "remove", "aria-label": `Remove ${name}` }, "×");
  button.addEventListener("click", remove);
  const sign = element("span", { class: "sign", "aria-hidden": "true" }, kind === "unlike" ? "−" : "+");
  const spoken = kind === "unlike" ? `unlike ${name}` : name;
  return element("li", { class: kind, title: name }, frame, sign, button, element("span", { class: "short" }, spoken));
}

const COLUMN_NAMES = { anomaly_score: "p-value of the anomaly", ra: "right ascension (deg)", dec: "declination (deg)" };

function rows(hit) {
  const facts = [
    ["similarity", hit.similarity === undefined ? null : fixed(hit.similarity, 4)],
    ["ra", fixed(hit.ra, 6)],
    ["dec", fixed(hit.dec, 6)],
    ["survey", hit.survey],
    ["tile", hit.tile],
    ...Object.entries(hit.measured).map(([name, value]) => [name, value === null ? null : String(value)]),
    ["anomaly_score", hit.anomaly_score === null ? null : String(hit.anomaly_score)],
    ["flags", (hit.flags || []).join(", ")],
  ];
  return facts
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => element("tr", {}, element("td", {}, COLUMN_NAMES[name] || name.replaceAll("_", " ")), element("td", { class: "text" }, value)));
}

function question(name, answers, asked) {
  const lines = Object.entries(answers).map(([answer, p]) => {
    const bar = element("i");
    bar.style.width = `${100 * p}%`;
    const track = element("div", { class: "track", "aria-hidden": "true" }, bar);
    return element("div", { class: "answer" }, answer, element("span", {}, fixed(p, 2)), track);
  });
  const faint = asked < 0.5;
  const note = faint ? " (rarely asked)" : "";
  return element("section", { class: faint ? "unasked" : "" }, element("h3", {}, name + note), ...lines);
}

// Everything that is known about a galaxy.
export function showDetails(dialog, hit, href) {
  const close = element("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
  close.addEventListener("click", () => dialog.close());
  const left = element(
    "div",
    {},
    element("div", { class: "frame" }, picture(hit.picture && pictureUrl(hit.id))),
    element("p", {}, element("a", { href }, "Galaxies like this one")),
    element("table", {}, element("tbody", {}, ...rows(hit))),
  );
  const questions = Object.entries(hit.answers || {}).map(([name, answers]) => question(name, answers, hit.asked[name]));
  const right = element("div", { class: "questions" }, ...questions);
  const title = element("h2", { id: "details-title" }, hit.summary ? `${hit.id}: ${hit.summary}` : hit.id);
  dialog.replaceChildren(close, title, element("div", { class: "sheet-of-one" }, left, right));
  dialog.showModal();
}
