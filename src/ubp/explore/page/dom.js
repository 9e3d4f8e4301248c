// Elements from text alone: nothing that comes from a file is ever read as HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name.startsWith("aria-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function fill(id, ...children) {
  byId(id).replaceChildren(...children);
}

export function show(id, visible) {
  byId(id).hidden = !visible;
}

export function write(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

// One of several choices: radio buttons, so that arrow keys and screen readers know what they are.
export function segments(id, choices, chosen, change) {
  const legend = byId(id).querySelector("legend");
  const labels = choices.map(({ value, title }) => {
    const input = make("input", { type: "radio", name: id, value, checked: value === chosen });
    input.addEventListener("change", () => change(value));
    return make("label", {}, input, make("span", {}, title));
  });
  byId(id).replaceChildren(legend, make("div", {}, ...labels));
}

// Names break after an underscore, as words do after a space.
export const breakable = (name) => name.replaceAll("_", "_\u200b");

export function percent(share) {
  const value = 100 * share;
  return `${value >= 9.95 ? value.toFixed(0) : value.toFixed(1)} %`;
}

export function fit(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  return { context, width, height };
}

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
export const isDark = () => window.matchMedia("(prefers-color-scheme: dark)").matches;
