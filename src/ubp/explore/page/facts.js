// How well a model does, and how it was trained.

import { byId, fill, make, percent, show, write } from "./dom.js";
import { tile } from "./pictures.js";

export function showSettings(settings) {
  fill("settings", ...settings.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

export function showScores(scores, protocol, ofStudy) {
  const rows = scores ? scores.accuracies.map(accuracy) : [];
  if (!rows.length) rows.push(make("p", {}, "This recording does not say what was seen, so there is no accuracy."));
  fill("scores", ...rows);
  const care = ofStudy ? " These are test trials: look at them, and choose no setting by them." : "";
  write("protocol", `${protocol}${scores ? " Bars: 95 % bootstrap intervals over images; ticks: chance." : ""}${care}`);
}

export function showFacts(found, general) {
  write("ranking-protocol", found.protocol);
  show("hubs-block", found.known > 0);
  write("hubs-about", found.above.length ? `Above the seen image in so many of ${found.known} queries.` : "None stands above the seen one.");
  fill("hubs", ...found.above.map((one) => tile(one, one.name, `${one.count} ×`)));
  const notes = [...general, ...found.notes];
  show("notes-block", notes.length > 0);
  fill("notes", ...notes.map((note) => make("li", {}, note)));
}

function accuracy(one) {
  const track = make("span", { class: "track", "aria-hidden": "true" }, make("i", { class: "interval" }), make("i", { class: "point" }), make("i", { class: "chance" }));
  const [interval, point, chance] = track.children;
  interval.style.left = `${100 * one.low}%`;
  interval.style.width = `${100 * (one.high - one.low)}%`;
  point.style.left = `${100 * one.value}%`;
  chance.style.left = `${100 * one.chance}%`;
  return make(
    "div",
    { class: "score" },
    make("span", { class: "label" }, one.name),
    make("strong", {}, percent(one.value)),
    track,
    make("span", { class: "fine" }, `${percent(one.low)} to ${percent(one.high)}; chance ${percent(one.chance)}`),
  );
}
