/** Requests to the server; every failure is an Error whose message can be shown. */

export const MOST_BYTES = 32 * 1024 * 1024;

async function answerOf(request) {
  let response;
  try {
    response = await request;
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (response.ok) return response;
  let message = `The server answered with status ${response.status}.`;
  try {
    message = (await response.json()).error ?? message;
  } catch {
    // Not every answer is JSON; the status says enough.
  }
  throw new Error(message);
}

export async function getJson(path) {
  return (await answerOf(fetch(path))).json();
}

export async function getBlob(path) {
  return (await answerOf(fetch(path))).blob();
}

/** What a run makes of an image; `wanted` names the class that Grad-CAM explains, `further` has other parameters. */
export async function explain(run, image, wanted, further = {}) {
  if (image.size > MOST_BYTES) throw new Error("The image is larger than 32 MB, which is the most that is accepted.");
  const query = new URLSearchParams({ run, ...further });
  if (wanted !== undefined) query.set("class", wanted);
  const known = image.type.startsWith("image/") || image.type === "text/plain";
  const headers = { "Content-Type": known ? image.type : "application/octet-stream" };
  return (await answerOf(fetch(`/explain?${query}`, { method: "POST", headers, body: image }))).json();
}

/** The image that a run makes, a PNG file; `wanted` is what /make takes. */
export async function make(run, wanted) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(wanted) };
  return (await answerOf(fetch(`/make?${new URLSearchParams({ run })}`, options))).blob();
}
