// What is asked of the server.

let run = "";

async function answer(response) {
  if (response.ok) return response;
  let sentence = `The server answered ${response.status}.`;
  try {
    sentence = (await response.json()).error || sentence;
  } catch {
    // not JSON: the number has to do
  }
  throw new Error(sentence);
}

async function ask(path, parameters, signal) {
  const query = new URLSearchParams(parameters).toString();
  try {
    return await answer(await fetch(`/api/${path}${query ? `?${query}` : ""}`, { signal }));
  } catch (error) {
    if (error instanceof TypeError) throw new Error("The program that serves this page does not answer; is it running?");
    throw error;
  }
}

export async function get(path, parameters = {}, signal = undefined) {
  const content = await (await ask(path, parameters, signal)).json();
  if (content.run) run = content.run;
  return content;
}

export async function numbers(path, parameters, signal) {
  return new Float32Array(await (await ask(path, parameters, signal)).arrayBuffer());
}

export const thumbnail = (row) => `/image/${run}/${row}`;
export const blurred = (row, width) => `/blurred/${run}/${row}/${width}`;

export async function send(file, multiply, signal) {
  const query = new URLSearchParams({ name: file.name, multiply });
  try {
    const response = await fetch(`/api/upload?${query}`, {
      method: "POST",
      body: file,
      signal,
      headers: { "x-requested-with": "ubp", "content-type": "application/octet-stream" },
    });
    return await (await answer(response)).json();
  } catch (error) {
    if (error instanceof TypeError) throw new Error("The upload broke off; is the program that serves this page running?");
    throw error;
  }
}
