// The ranked images of a trial, their probabilities, and the set that holds the seen one.

import { breakable, byId, fill, make, percent, segments, show, write } from "./dom.js";
import { tile } from "./pictures.js";
import { thumbnail } from "./server.js";

let coverage = "90";
let trial = null;
let noConfidence = "";

export function startRanking(overview) {
  noConfidence = overview.no_confidence || "";
  show("coverages", overview.calibrated);
  const choices = overview.coverages.map((value) => ({ value, title: `${value} %` }));
  segments("coverages", choices, coverage, (value) => {
    coverage = value;
    draw();
  });
}

export function showRanking(found) {
  trial = found;
  draw();
}

function draw() {
  if (!trial) return;
  const set = trial.sets[coverage];
  const places = trial.best.map((one) => ranked(one, set));
  if (trial.seen && trial.seen.place > trial.best.length) {
    places.push(make("li", { class: "gap", "aria-hidden": "true" }, "…"), ranked(trial.seen, set));
  }
  fill("ranks", ...places);
  byId("headline").replaceChildren(...headline());
  drawSet(set);
  const how = "Probabilities are calibrated on held-out concepts, and given that one of these images was seen.";
  write("confidence-about", trial.best[0].probability === null ? noConfidence : how);
}

function headline() {
  if (!trial.seen) return ["What was seen is not known here."];
  const place = trial.rank === 1 ? "first" : `at rank ${trial.rank}`;
  const chance = trial.seen.probability === null ? "" : `, with probability ${percent(trial.seen.probability)}`;
  return ["The seen image comes ", make("strong", {}, place), ` of ${trial.gallery_size}${chance}.`];
}

function ranked(one, set) {
  const inside = Boolean(set) && one.sets.includes(coverage);
  const value = one.probability === null ? one.cosine.toFixed(3) : percent(one.probability);
  const bar = make("span", { class: "bar" }, make("i"));
  bar.firstChild.style.width = `${100 * (one.probability === null ? Math.max(0, one.cosine) : one.probability)}%`;
  const marks = [];
  if (one.is_seen) marks.push(make("span", { class: "mark seen-mark" }, "seen"));
  if (inside) marks.push(make("span", { class: "mark set-mark" }, `${coverage} % set`));
  const picture = make("img", { src: thumbnail(one.row), alt: "", width: 160, height: 160 });
  return make(
    "li",
    { class: `rank${one.is_seen ? " is-seen" : ""}${inside ? " inside" : ""}` },
    make("span", { class: "frame" }, picture, make("b", {}, String(one.place))),
    make("span", { class: "value" }, value, one.probability === null ? make("small", {}, " cosine") : null),
    bar,
    make("span", { class: "caption", title: one.name }, breakable(one.name)),
    make("span", { class: "marks" }, ...marks),
  );
}

function drawSet(set) {
  show("set", Boolean(set));
  if (!set) return;
  const size = set.size === 0 ? "is empty: no image fits" : `holds ${set.size} of ${trial.gallery_size} images`;
  let seen = "";
  if (set.holds_seen !== null && set.size) seen = set.holds_seen ? ", the seen one among them" : ", not the seen one";
  const whole = set.whole ? " (all: too few concepts calibrated it, or nothing stands out)" : "";
  byId("set-summary").textContent = `The ${coverage} % set ${size}${seen}${whole}`;
  const more = set.size - set.images.length;
  fill(
    "set-images",
    ...set.images.map((image) => tile(image, image.name)),
    more > 0 ? make("p", { class: "fine" }, `and ${more} more`) : "",
  );
}
