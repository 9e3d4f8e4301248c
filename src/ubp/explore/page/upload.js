// A recording from the reader's own disk.

import { byId, show, write } from "./dom.js";
import { send } from "./server.js";

export function startUpload(overview, taken) {
  const dialog = byId("upload");
  const { signal } = overview;
  const some = signal.channels.slice(0, 8).join(", ");
  const more = signal.channels.length > 8 ? ` and ${signal.channels.length - 8} more` : "";
  byId("upload-expects").textContent =
    `The model needs ${signal.channels.length} channels (${some}${more}), found by name; an array has them in that order. ` +
    `At most ${overview.max_upload_mb} MB.`;
  let sending = null;
  byId("open-upload").addEventListener("click", () => {
    problem("");
    dialog.showModal();
  });
  byId("upload-cancel").addEventListener("click", () => {
    if (sending) sending.abort();
    dialog.close();
  });
  dialog.addEventListener("cancel", () => sending && sending.abort());
  byId("upload-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (sending) return;
    const file = byId("upload-file").files[0];
    problem("");
    if (!file) return problem("Choose a file first.");
    if (file.size > overview.max_upload_mb * 2 ** 20) {
      return problem(`${file.name} has more than ${overview.max_upload_mb} MB; take fewer trials, or start with a larger --max-upload-mb.`);
    }
    sending = new AbortController();
    byId("upload-send").disabled = true;
    write("upload-busy", `Reading ${file.name} …`);
    try {
      const source = await send(file, byId("upload-multiply").value.trim() || "1", sending.signal);
      byId("upload-form").reset();
      await taken(source);
      dialog.close();
    } catch (error) {
      if (error.name !== "AbortError") problem(error.message);
    } finally {
      sending = null;
      byId("upload-send").disabled = false;
      show("upload-busy", false);
    }
    return undefined;
  });
}

function problem(sentence) {
  write("upload-problem", sentence);
}
