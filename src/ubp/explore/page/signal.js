// The signal of a trial: every channel over time, and a head at one time.

import { byId, colour, fit, isDark, show, write } from "./dom.js";

let values = null;
let names = [];
let times = null;
let head = null;
let chosen = null;

const nTimes = () => values.length / names.length;

export function startSignal(overview, made) {
  names = overview.signal.channels;
  times = made.times;
  head = made.operator ? { ...made, operator: decode(made.operator) } : null;
  show("head-figure", Boolean(head));
  write("head-about", head ? `Red is above zero, blue below, drawn near sensors alone. ${head.source}` : `No map of the head: ${made.reason}.`);
  byId("time").addEventListener("input", () => pick(Number(byId("time").value)));
  for (const kind of ["pointermove", "pointerdown"]) {
    byId("traces").addEventListener(kind, (event) => {
      if (!values || nTimes() < 2) return;
      const box = byId("traces").getBoundingClientRect();
      const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
      pick(Math.round(Math.min(1, Math.max(0, share)) * (nTimes() - 1)));
    });
  }
}

function decode(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

export function showSignal(found, trial) {
  values = found;
  const n = nTimes();
  if (chosen === null || chosen >= n) chosen = peak();
  show("time-row", n > 1);
  byId("time").max = n - 1;
  byId("time").value = chosen;
  const how = trial.repetitions > 1 ? `the mean of ${trial.repetitions} repetitions` : "a single trial";
  byId("signal-about").textContent = `${names.length} channels, ${how}, as the model takes it`;
  redraw();
}

function pick(place) {
  chosen = place;
  byId("time").value = place;
  redraw();
}

export function redraw() {
  if (!values) return;
  if (nTimes() < 2) drawBars();
  else drawTraces();
  drawHead();
  const at = moment(chosen);
  byId("time-value").textContent = at;
  byId("time").setAttribute("aria-valuetext", at);
}

const moment = (place) => (times ? `${Math.round(1000 * times[place])} ms` : `sample ${place}`);

function power() {
  const n = nTimes();
  const found = new Float64Array(n);
  for (let t = 0; t < n; t += 1) {
    let sum = 0;
    let squares = 0;
    for (let c = 0; c < names.length; c += 1) {
      const value = values[c * n + t];
      sum += value;
      squares += value * value;
    }
    const mean = sum / names.length;
    found[t] = names.length > 1 ? Math.sqrt(Math.max(0, squares / names.length - mean * mean)) : Math.abs(sum);
  }
  return found;
}

const peak = () => power().reduce((best, value, place, all) => (value > all[best] ? place : best), 0);

function channelColour(place) {
  const at = head ? head.picks.indexOf(place) : -1;
  if (at < 0) return colour("trace");
  const [x, y] = head.places[at];
  const hue = (Math.atan2(x, y) * 180) / Math.PI;
  const far = Math.min(1, Math.hypot(x, y));
  return `hsl(${hue.toFixed(0)} ${Math.round(20 + 55 * far)}% ${isDark() ? 66 : 42}%)`;
}

const LEFT = 46;
const RIGHT = 10;
const BOTTOM = 34;

function axes(context, width, height, low, high) {
  const y = (value) => 10 + ((high - value) / (high - low)) * (height - 10 - BOTTOM);
  context.strokeStyle = colour("line");
  context.fillStyle = colour("muted");
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of new Set([high, 0, low])) {
    context.beginPath();
    context.moveTo(LEFT, y(value));
    context.lineTo(width - RIGHT, y(value));
    context.stroke();
    context.fillText(short(value), LEFT - 6, y(value));
  }
  return y;
}

function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 0.01 && size < 10000 ? value.toPrecision(2) : value.toExponential(0);
}

// 1, 2 or 5 times a power of ten, at least 1
function round(step) {
  const power = 10 ** Math.floor(Math.log10(Math.max(step, 1)));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= step);
}

function largest(numbers) {
  let found = 0;
  for (const value of numbers) found = Math.max(found, Math.abs(value));
  return found || 1;
}

function drawTraces() {
  const canvas = byId("traces");
  const { context, width, height } = fit(canvas);
  const n = nTimes();
  const limit = largest(values);
  const y = axes(context, width, height, -limit, limit);
  const x = (place) => LEFT + (place / (n - 1)) * (width - LEFT - RIGHT);
  context.textAlign = "center";
  context.textBaseline = "top";
  const [first, last] = times ? [1000 * times[0], 1000 * times[n - 1]] : [0, n - 1];
  const step = round((last - first) / Math.max(2, Math.floor((width - LEFT) / 60)));
  for (let tick = Math.ceil(first / step) * step; tick <= last + 1e-6; tick += step) {
    const at = x(((tick - first) / (last - first)) * (n - 1));
    if (at < width - 18) context.fillText(String(Math.round(tick)), at, height - BOTTOM + 5);
  }
  context.fillText(times ? "ms from image onset" : "sample", (LEFT + width) / 2, height - 14);
  context.lineWidth = 1.1;
  context.globalAlpha = names.length > 100 ? 0.45 : 0.8;
  for (let c = 0; c < names.length; c += 1) {
    context.strokeStyle = channelColour(c);
    context.beginPath();
    for (let t = 0; t < n; t += 1) context.lineTo(x(t), y(values[c * n + t]));
    context.stroke();
  }
  context.globalAlpha = 1;
  context.strokeStyle = colour("ink");
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x(chosen), 6);
  context.lineTo(x(chosen), height - BOTTOM);
  context.stroke();
  const label = `Signal of ${names.length} channels over ${n} samples; strongest at ${moment(peak())}`;
  canvas.setAttribute("aria-label", label);
}

function drawBars() {
  const canvas = byId("traces");
  const { context, width, height } = fit(canvas);
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const y = axes(context, width, height, low, high > low ? high : low + 1);
  const room = (width - LEFT - RIGHT) / names.length;
  context.fillStyle = colour("brain");
  values.forEach((value, place) => {
    context.fillRect(LEFT + room * place + room * 0.1, Math.min(y(0), y(value)), room * 0.8, Math.max(1, Math.abs(y(value) - y(0))));
  });
  context.fillStyle = colour("muted");
  context.textAlign = "center";
  context.textBaseline = "top";
  const step = Math.ceil(60 / room);
  for (let place = 0; place < names.length; place += step) {
    context.fillText(names[place].slice(0, 9), LEFT + room * (place + 0.5), height - BOTTOM + 5);
  }
  context.fillText("channel", (LEFT + width) / 2, height - 14);
  canvas.setAttribute("aria-label", `One value for each of ${names.length} channels, from ${short(Math.min(...values))} to ${short(Math.max(...values))}`);
}

const BLUE = [33, 102, 172];
const RED = [178, 24, 43];

function drawHead() {
  if (!head) return;
  const canvas = byId("head");
  const { context, width, height } = fit(canvas);
  const n = nTimes();
  const shown = head.picks.map((pick) => values[pick * n + chosen]);
  const limit = largest(values);
  const small = document.createElement("canvas");
  small.width = head.size;
  small.height = head.size;
  const pixels = small.getContext("2d").createImageData(head.size, head.size);
  const middle = isDark() ? [38, 42, 50] : [250, 249, 246];
  head.points.forEach((point, place) => {
    let value = 0;
    for (let s = 0; s < shown.length; s += 1) value += head.operator[place * shown.length + s] * shown[s];
    const share = Math.min(1, Math.sqrt(Math.abs(value) / limit));
    const end = value < 0 ? BLUE : RED;
    for (let k = 0; k < 3; k += 1) pixels.data[4 * point + k] = middle[k] + share * (end[k] - middle[k]);
    pixels.data[4 * point + 3] = 255;
  });
  small.getContext("2d").putImageData(pixels, 0, 0);
  const size = Math.min(width, height) - 16;
  const left = (width - size) / 2;
  const top = (height - size) / 2 + 4;
  const radius = size / (2 * head.extent);
  const centre = [width / 2, top + size / 2];
  context.imageSmoothingQuality = "high";
  context.drawImage(small, left, top, size, size);
  context.strokeStyle = colour("ink");
  context.lineWidth = 1.5;
  context.beginPath();
  context.arc(...centre, radius, 0, 2 * Math.PI);
  context.moveTo(centre[0] - 0.13 * radius, centre[1] - 0.99 * radius);
  context.lineTo(centre[0], centre[1] - 1.13 * radius);
  context.lineTo(centre[0] + 0.13 * radius, centre[1] - 0.99 * radius);
  context.stroke();
  context.fillStyle = colour("ink");
  for (const [x, y] of head.places) {
    context.beginPath();
    context.arc(centre[0] + x * radius, centre[1] - y * radius, 1.6, 0, 2 * Math.PI);
    context.fill();
  }
  canvas.setAttribute("aria-label", `Map of the signal on the head at ${moment(chosen)}, seen from above`);
}
