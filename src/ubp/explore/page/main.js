// What is chosen, and what follows from it.

import { byId, fill, make, segments, show, write } from "./dom.js";
import { showFacts, showScores, showSettings } from "./facts.js";
import { showSeen, startBlur, tile } from "./pictures.js";
import { mark, redraw as redrawPlane, showPlane, startPlane } from "./plane.js";
import { showRanking, startRanking } from "./ranking.js";
import { get, numbers, thumbnail } from "./server.js";
import { redraw as redrawSignal, showSignal, startSignal } from "./signal.js";
import { startUpload } from "./upload.js";

const state = { overview: null, source: "", repetitions: "", query: 0, queries: [], turn: 0 };
let stop = new AbortController();

function busy(is) {
  document.documentElement.dataset.state = is ? "busy" : "ready";
}

// Runs what a choice asks for; a later choice ends an earlier one.
async function turn(work) {
  stop.abort();
  stop = new AbortController();
  const mine = (state.turn += 1);
  document.documentElement.dataset.turn = mine;
  busy(true);
  write("failure", "");
  try {
    await work(stop.signal);
  } catch (error) {
    if (mine === state.turn && error.name !== "AbortError") write("failure", error.message);
  }
  if (mine === state.turn) busy(false);
}

const asked = () => ({ source: state.source, repetitions: state.repetitions });
const current = () => state.overview.sources.find((one) => one.name === state.source);

function listSources() {
  const group = (label, sources) =>
    sources.length ? make("optgroup", { label }, ...sources.map((one) => make("option", { value: one.name }, one.title))) : "";
  const { sources, refused } = state.overview;
  const cannot = Object.entries(refused).map(([name, why]) => make("option", { disabled: true, title: why }, `${name} (cannot be shown)`));
  const own = group("Test trials of the study", sources.filter((one) => one.from_study));
  if (own) own.append(...cannot);
  fill("source", own, group("Uploaded", sources.filter((one) => !one.from_study)));
  byId("source").value = state.source;
}

async function chooseSource(name, repetitions = null, query = 0) {
  state.source = name;
  const about = current();
  const known = about.repetitions.some((one) => one.value === repetitions);
  state.repetitions = known ? repetitions : about.chosen;
  state.query = query;
  byId("source").value = name;
  segments("repetitions", about.repetitions, state.repetitions, (value) => {
    state.repetitions = value;
    turn(loadSource);
  });
  await turn(loadSource);
}

async function loadSource(signal) {
  const found = await get("source", asked(), signal);
  state.queries = found.queries;
  state.query = Math.min(state.query, found.queries.length - 1);
  listTrials();
  showFacts(found, state.overview.notes);
  await loadTrial(signal);
  const [well, plane] = await Promise.all([get("scores", asked(), signal), get("plane", asked(), signal)]);
  showScores(well.scores, found.protocol, current().from_study);
  showPlane(plane, state.queries);
  mark(state.query);
}

function chooseTrial(query) {
  state.query = query;
  const input = byId("trials").querySelector(`input[value="${query}"]`);
  if (input && !input.checked) {
    input.checked = true;
    input.closest("label").scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  turn(loadTrial);
}

async function loadTrial(signal) {
  const parameters = { ...asked(), query: state.query };
  const [trial, values] = await Promise.all([get("trial", parameters, signal), numbers("signal", parameters, signal)]);
  showSignal(values, trial);
  showRanking(trial);
  showSimilar(trial);
  mark(state.query);
  const confusions = get("confusions", parameters, signal);
  await Promise.all([showSeen(trial), confusions]);
  const rank = trial.rank === null ? "" : `, the seen image at rank ${trial.rank} of ${trial.gallery_size}`;
  byId("status").textContent = `${trial.title}${rank}`;
  history.replaceState(null, "", `#${[state.source, state.repetitions, state.query].map(encodeURIComponent).join("/")}`);
  document.documentElement.dataset.query = state.query;
  showConfusions(await confusions, trial);
}

function showSimilar(trial) {
  write("similar-about", trial.similar.length ? "Cosine of the embeddings of other images' signals." : "There is no other image's signal.");
  fill("similar", ...trial.similar.map((one) => tile(one, one.title, one.cosine.toFixed(2), () => chooseTrial(one.query))));
}

function showConfusions(found, trial) {
  let about = `The seen image came first in ${found.first} of its ${found.trials} single trials; these stood above it in so many.`;
  if (found.trials === 1) about = found.first ? "Its one trial is answered right." : "These stood above it in its one trial.";
  if (!found.trials) about = trial.name ? "The seen image is not in the gallery." : "Nobody says what was seen.";
  else if (!found.above.length) about = `In its ${found.trials} single trials nothing stood above the seen image.`;
  write("above-about", about);
  const query = (row) => state.queries.findIndex((one) => one.row === row);
  fill("above", ...found.above.map((one) => tile(one, one.name, found.trials > 1 ? `${one.count} ×` : "", query(one.row) < 0 ? null : () => chooseTrial(query(one.row)))));
}

function listTrials() {
  const order = state.queries.map((_, place) => place);
  const sort = byId("sort").value;
  const rank = (place) => state.queries[place].rank ?? Infinity;
  if (sort !== "given") order.sort((one, two) => (rank(one) - rank(two)) * (sort === "best" ? 1 : -1) || one - two);
  const known = state.queries.some((one) => one.rank !== null);
  byId("sort").disabled = !known;
  byId("trials-about").textContent = known ? "Number: rank of the seen image." : "";
  fill("trials", ...order.map((place) => trialTile(place, state.queries[place])));
}

function trialTile(place, query) {
  const input = make("input", { type: "radio", name: "trial", value: place, checked: place === state.query });
  input.setAttribute("aria-label", query.rank === null ? query.title : `${query.title}, rank ${query.rank}`);
  input.addEventListener("change", () => chooseTrial(place));
  const picture =
    query.row === null
      ? make("span", { class: "blank" }, query.title)
      : make("img", { loading: "lazy", fetchPriority: "low", src: thumbnail(query.row), alt: "", width: 160, height: 160 });
  const badge = query.rank === null ? null : make("b", { class: query.rank === 1 ? "hit" : "" }, String(query.rank));
  return make("label", { class: "choice", title: query.title }, input, picture, badge);
}

function remembered() {
  const [source, repetitions, query] = location.hash.slice(1).split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return "";
    }
  });
  const known = state.overview.sources.some((one) => one.name === source);
  const number = /^\d{1,6}$/.test(query || "") ? Number(query) : 0;
  return known ? [source, repetitions, number] : [state.overview.sources[0].name, null, 0];
}

async function start() {
  const [overview, head] = await Promise.all([get("overview"), get("head")]);
  state.overview = overview;
  byId("title").textContent = overview.model.title;
  byId("subtitle").textContent = overview.model.subtitle;
  document.title = `${overview.model.title} – ubp explore`;
  startBlur(overview.blur);
  startRanking(overview);
  startSignal(overview, head);
  startPlane(chooseTrial);
  startUpload(overview, async (source) => {
    state.overview = await get("overview");
    state.source = source.name;
    listSources();
    await chooseSource(source.name);
  });
  showSettings(overview.settings);
  byId("source").addEventListener("change", () => chooseSource(byId("source").value));
  byId("sort").addEventListener("change", listTrials);
  const again = () => {
    redrawSignal();
    redrawPlane();
  };
  window.addEventListener("resize", again);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  const [source, repetitions, query] = remembered();
  state.source = source;
  listSources();
  await chooseSource(source, repetitions, query);
}

start().catch((error) => {
  write("failure", error.message);
  show("failure", true);
  busy(false);
});
