// A map of images and brain signals; a click goes to the trial.

import { byId, colour, fit, percent, show, write } from "./dom.js";
import { thumbnail } from "./server.js";

let map = null;
let queries = [];
let chosen = null;
let go = () => {};

export function startPlane(choose) {
  go = choose;
  const canvas = byId("plane");
  canvas.addEventListener("pointermove", (event) => point(event));
  canvas.addEventListener("pointerleave", () => show("tip", false));
  canvas.addEventListener("click", (event) => {
    const near = nearest(event);
    if (near && near.query !== null) go(near.query);
  });
}

export function showPlane(made, listed) {
  map = made;
  queries = listed;
  const share = percent(made.explained);
  write(
    "plane-about",
    `The two main directions of the gallery's images (${share} of their variance); images and signals each about their own ` +
      "middle. A picture alone: no ranking uses it. A click goes to the trial.",
  );
  redraw();
}

export function mark(query) {
  chosen = query;
  redraw();
}

function place() {
  const { width, height } = byId("plane").getBoundingClientRect();
  const scale = (points) => Math.max(1e-9, ...points.map(([x, y]) => Math.max(Math.abs(x), Math.abs(y))));
  const room = Math.min(width, height) / 2 - 14;
  const [images, brain] = [room / scale(map.images), room / scale(map.brain)];
  const put = (factor) => ([x, y]) => [width / 2 + x * factor * (width / height > 1.25 ? 1.25 : 1), height / 2 - y * factor];
  return { image: put(images), brain: put(brain) };
}

export function redraw() {
  if (!map) return;
  const canvas = byId("plane");
  const { context } = fit(canvas);
  const at = place();
  const dot = ([x, y], radius, fill, stroke) => {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    if (fill) {
      context.fillStyle = fill;
      context.fill();
    }
    if (stroke) {
      context.strokeStyle = stroke;
      context.stroke();
    }
  };
  context.lineWidth = 1.4;
  map.images.forEach((point) => dot(at.image(point), 3.2, null, colour("image")));
  map.brain.forEach((point) => dot(at.brain(point), 2.6, colour("brain"), null));
  if (chosen === null || chosen >= map.brain.length) return;
  const target = map.targets[chosen];
  const from = at.brain(map.brain[chosen]);
  context.lineWidth = 2.2;
  if (target >= 0) {
    const to = at.image(map.images[target]);
    context.strokeStyle = colour("ink");
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    dot(to, 7, colour("card"), colour("seen"));
    dot(to, 3, colour("seen"), null);
  }
  dot(from, 7, colour("brain"), colour("ink"));
  canvas.setAttribute("aria-label", `Map of ${map.images.length} images and ${map.brain.length} brain signals`);
}

function nearest(event) {
  if (!map) return null;
  const box = byId("plane").getBoundingClientRect();
  const at = place();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let found = null;
  const consider = (point, query, row, name) => {
    const distance = Math.hypot(point[0] - x, point[1] - y);
    if (distance < 14 && (!found || distance < found.distance)) found = { distance, query, row, name, point };
  };
  const first = new Map();
  map.targets.forEach((target, query) => {
    if (target >= 0 && !first.has(target)) first.set(target, query);
  });
  map.brain.forEach((point, query) => {
    const about = queries[query];
    consider(at.brain(point), query, about ? about.row : null, about ? `signal: ${about.title}` : "");
  });
  map.images.forEach((point, image) => {
    const query = first.has(image) ? first.get(image) : null;
    consider(at.image(point), query, map.rows[image], query === null ? "image" : `image: ${queries[query].name}`);
  });
  return found;
}

function point(event) {
  const near = nearest(event);
  show("tip", Boolean(near));
  byId("plane").style.cursor = near && near.query !== null ? "pointer" : "default";
  if (!near) return;
  show("tip-image", near.row !== null);
  if (near.row !== null) byId("tip-image").src = thumbnail(near.row);
  byId("tip-name").textContent = near.name;
  const tip = byId("tip");
  const { width } = byId("plane").getBoundingClientRect();
  tip.style.left = `${Math.min(near.point[0] + 12, width - 150)}px`;
  tip.style.top = `${near.point[1] + 10}px`;
}
