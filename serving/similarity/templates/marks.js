// Marked galaxies and their labels. They stay in this browser until they are cleared, and leave it by an export.

import { element, picture, pictureUrl } from "./cards.js";

const $ = (id) => document.getElementById(id);

export class Marks {
  // `changed` is called after every change; `failed` with what went wrong.
  constructor(name, changed, failed) {
    this.key = `morph-marks:${name}`;
    this.changed = changed;
    this.failed = failed;
    try {
      this.marked = new Map(JSON.parse(localStorage.getItem(this.key)) || []);
    } catch {
      this.marked = new Map();
    }
    $("question").addEventListener("change", () => this.render());
    $("clear").addEventListener("click", () => {
      this.marked.clear();
      this.store();
    });
    for (const button of document.querySelectorAll("[data-export]"))
      button.addEventListener("click", () => this.send(button.dataset.export));
    window.addEventListener("storage", (event) => {
      if (event.key !== this.key) return;
      this.marked = new Map(JSON.parse(event.newValue) || []);
      this.render();
      this.changed();
    });
  }

  has(id) {
    return this.marked.has(id);
  }

  labels(id) {
    return this.marked.get(id) || {};
  }

  get ids() {
    return [...this.marked.keys()];
  }

  toggle(id) {
    if (!this.marked.delete(id)) this.marked.set(id, {});
    this.store();
  }

  // The answers to the question that labels answer now.
  get answers() {
    const chosen = $("question").selectedOptions[0];
    return chosen && chosen.dataset.answers ? JSON.parse(chosen.dataset.answers) : [];
  }

  // Mark a galaxy with an answer by its number, from 0; the same again takes the label back.
  label(id, number) {
    const answer = this.answers[number];
    if (!answer) return false;
    const labels = { ...this.labels(id) };
    const question = $("question").value;
    if (labels[question] === answer) delete labels[question];
    else labels[question] = answer;
    this.marked.set(id, labels);
    this.store();
    return true;
  }

  store() {
    try {
      localStorage.setItem(this.key, JSON.stringify([...this.marked]));
    } catch {
      this.failed("The browser does not store the marks; export them before you leave the page.");
    }
    this.render();
    this.changed();
  }

  render() {
    $("tray").hidden = !this.marked.size;
    const labelled = [...this.marked.values()].filter((labels) => Object.keys(labels).length).length;
    $("marked-count").textContent = `${this.marked.size} marked` + (labelled ? `, ${labelled} labelled` : "");
    $("like-marked").href = `?${new URLSearchParams(this.ids.map((id) => ["like", id]))}`;
    const counts = {};
    for (const labels of this.marked.values()) {
      const answer = labels[$("question").value];
      if (answer) counts[answer] = (counts[answer] || 0) + 1;
    }
    $("answers").replaceChildren(
      ...this.answers.map((answer, number) => {
        const text = `${answer}${counts[answer] ? ` (${counts[answer]})` : ""}`;
        const button = element("button", { type: "button", title: "Label all that have none" }, element("kbd", {}, String(number + 1)), text);
        button.addEventListener("click", () => this.labelRest(answer));
        return button;
      }),
    );
    $("marked").replaceChildren(...[...this.marked].slice(-200).reverse().map((entry) => this.thumbnail(...entry)));
  }

  // Give an answer to all marked galaxies that have none to this question.
  labelRest(answer) {
    const question = $("question").value;
    for (const [id, labels] of this.marked)
      if (!labels[question]) this.marked.set(id, { ...labels, [question]: answer });
    this.store();
  }

  thumbnail(id, labels) {
    const button = element("button", { type: "button", class: "remove", "aria-label": `Remove ${id}` }, "×");
    button.addEventListener("click", () => this.toggle(id));
    const answers = Object.values(labels).join(", ");
    const link = element(
      "a",
      { href: `?like=${encodeURIComponent(id)}`, title: answers ? `${id}: ${answers}` : id, "aria-label": `Galaxies like ${id}` },
      element("span", { class: "frame" }, picture(pictureUrl(id))),
    );
    return element("li", {}, link, answers ? element("span", { class: "label" }, answers) : null, button);
  }

  async send(format) {
    const galaxies = [...this.marked].map(([id, labels]) => ({ id, labels }));
    try {
      const answer = await fetch("v1/export", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ format, galaxies }),
      });
      if (!answer.ok) throw new Error((await answer.json()).error);
      const name = format === "labels" ? "labels.csv" : `marked.${format}`;
      const link = element("a", { href: URL.createObjectURL(await answer.blob()), download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    } catch (error) {
      this.failed(error.message);
    }
  }
}
