// The image that was seen with its blur, and images in strips.

import { breakable, byId, make, show, write } from "./dom.js";
import { blurred, thumbnail } from "./server.js";

let about = null;
let row = null;
let wanted = 0;

const width = () => 2 * Number(byId("blur").value) + 1;

export function startBlur(blur) {
  about = blur;
  const slider = byId("blur");
  slider.max = (blur.widest - 1) / 2;
  slider.addEventListener("input", draw);
  const share = (at) => (100 * (at - 1)) / (blur.widest - 1);
  const ticks = [{ title: "crisp", left: 0 }, ...groups(blur.marks.map((mark) => mark.width), share)];
  byId("blur-marks").replaceChildren(
    ...ticks.map(({ title, left }) => {
      const tick = make("span", {}, title);
      tick.style.left = `${left}%`;
      return tick;
    }),
  );
}

// Widths to write below the slider; those too near for names of their own become one, such as 45–57.
function groups(widths, share) {
  const found = [];
  for (const one of widths.filter((each) => each > 1)) {
    const last = found.at(-1);
    if (last && share(one - last.at(-1) + 1) < 12) last.push(one);
    else found.push([one]);
  }
  return found.map((group) => ({
    title: group.length > 1 ? `${group[0]}–${group.at(-1)}` : String(group[0]),
    left: (share(group[0]) + share(group.at(-1))) / 2,
  }));
}

export function showSeen(trial) {
  row = trial.row;
  byId("seen-name").textContent = row === null ? trial.title : trial.name;
  show("seen", row !== null);
  show("seen-empty", row === null);
  byId("blur").disabled = row === null;
  if (row === null) {
    byId("seen-empty").textContent = trial.name
      ? "The image that was seen is not in the gallery."
      : "The recording does not say what was seen.";
    byId("seen").removeAttribute("src");
  }
  return draw();
}

async function draw() {
  const current = width();
  const mine = (wanted += 1);
  const named = current === 1 ? "crisp" : `${current} pixels wide`;
  byId("blur-value").textContent = named;
  byId("blur").setAttribute("aria-valuetext", named);
  write("blur-about", described(current));
  if (row === null) return;
  const next = new Image();
  next.fetchPriority = "high"; // before the small ones, of which there are many
  next.src = blurred(row, current);
  try {
    await next.decode();
  } catch {
    if (mine === wanted) byId("seen-empty").textContent = "The image cannot be shown.";
    show("seen-empty", mine === wanted);
    return;
  }
  if (mine !== wanted) return;
  const seen = byId("seen");
  seen.src = next.src;
  seen.alt = `The image that was seen, ${named}`;
  seen.dataset.width = current;
}

function described(current) {
  const mark = about.marks.find((one) => one.width === current);
  if (mark) return `A level of the model: ${mark.purpose}.`;
  return `Kernel in pixels of the ${about.size} the image encoder sees; the gallery is at level ${about.base}.`;
}

export function tile(image, caption, detail, click) {
  const picture =
    image.row === null || image.row === undefined
      ? make("span", { class: "blank" }, image.title || "?")
      : make("img", { loading: "lazy", fetchPriority: "low", src: thumbnail(image.row), alt: "", width: 160, height: 160 });
  const words = [make("span", { class: "caption" }, breakable(caption)), detail ? make("span", { class: "detail" }, detail) : null];
  if (!click) return make("div", { class: "tile", title: caption }, picture, ...words);
  const button = make("button", { class: "tile", type: "button", title: `Go to ${caption}` }, picture, ...words);
  button.addEventListener("click", click);
  return button;
}
