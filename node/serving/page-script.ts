/** Script of the page at /: plain JavaScript for browsers, sent as it stands. */
export const PAGE_SCRIPT = `
const facts = JSON.parse(document.getElementById("facts").textContent);
const status = document.getElementById("status");
const results = document.getElementById("results");
const inputs = new Map(); // name of an input -> { text } or { image: data URL }
let pending; // AbortController of the request under way
let timer;

function say(message, kind = "") {
  status.textContent = message;
  status.className = "status " + kind;
}

async function post(path, body, signal) {
  const response = await fetch(path, {
    method: "POST", signal, body: JSON.stringify(body), headers: { "content-type": "application/json" },
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error?.message ?? "the server answered " + response.status);
  return answer;
}

function ask(delayMs) {
  clearTimeout(timer);
  timer = setTimeout(answer, delayMs);
}

async function answer() {
  pending?.abort();
  const names = facts.gallery ? ["query"] : ["first", "second"];
  const given = names.map((name) => inputs.get(name)).filter(Boolean);
  if (given.length < names.length) {
    results.replaceChildren();
    say(given.length > 0 ? "Now the other one." : "");
    return;
  }
  pending = new AbortController();
  results.setAttribute("aria-busy", "true");
  const started = performance.now();
  try {
    if (facts.gallery) {
      const neighbors = await post("/v1/neighbors", { ...given[0], k: 18 }, pending.signal);
      show(neighbors);
      const ms = Math.round(performance.now() - started);
      say(neighbors.length + " nearest, in " + ms + " ms");
    } else {
      const body = { model: facts.model, input: given, encoding_format: "float" };
      const { data } = await post("/v1/embeddings", body, pending.signal);
      const [a, b] = data.map(({ embedding }) => embedding);
      const cosine = a.reduce((sum, value, i) => sum + value * b[i], 0);
      say("cosine " + cosine.toFixed(3), "big");
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    results.replaceChildren();
    say(error.message, "error");
  }
  results.setAttribute("aria-busy", "false");
}

function show(neighbors) {
  // Bars compare the neighbours with each other: what cosine counts as near differs from model to model.
  const best = Math.max(...neighbors.map(({ score }) => score), 1e-6);
  results.replaceChildren(...neighbors.map(({ text, label, score, picture, id }) => {
    const item = document.createElement("li");
    if (picture !== null) {
      const image = document.createElement("img");
      image.src = picture;
      image.alt = "";
      image.width = image.height = 64;
      item.append(image);
    }
    item.append(line("name", text ?? id));
    if (label !== null) item.append(line("label", label));
    const scoreLine = line("score", "");
    const meter = document.createElement("meter");
    meter.min = 0;
    meter.max = best;
    meter.value = Math.max(0, score);
    meter.setAttribute("aria-hidden", "true");
    scoreLine.append(meter, "cosine " + score.toFixed(2));
    item.append(scoreLine);
    return item;
  }));
}

function line(className, text) {
  const element = document.createElement("div");
  element.className = className;
  element.textContent = text;
  return element;
}

/** A picture as a data URL; what the server does not read, or is large, is drawn anew as a PNG. */
async function dataUrl(file) {
  if (["image/png", "image/jpeg", "image/webp"].includes(file.type) && file.size < 2_000_000) {
    return new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.onerror = () => reject(new Error("the picture cannot be read"));
      reader.readAsDataURL(file);
    });
  }
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error("this file is not a picture that the browser can read");
  });
  const scale = Math.min(1, 512 / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/png");
}

for (const part of document.querySelectorAll("[data-input]")) {
  const name = part.dataset.input;
  const words = part.querySelector("input[type=search]");
  const drop = part.querySelector(".drop");
  const file = drop?.querySelector("input");
  const preview = drop?.querySelector("img");
  const strong = drop?.querySelector("strong");

  const setText = (delayMs) => {
    const text = words.value.trim();
    if (text === "") inputs.delete(name);
    else inputs.set(name, { text });
    if (preview) preview.hidden = true;
    if (strong) strong.textContent = "Choose a picture";
    if (file) file.value = "";
    ask(delayMs);
  };
  const setPicture = async (chosen) => {
    if (!chosen) return;
    try {
      const image = await dataUrl(chosen);
      inputs.set(name, { image });
      preview.src = image;
      preview.hidden = false;
      strong.textContent = chosen.name || "Pasted picture";
      if (words) words.value = "";
      ask(0);
    } catch (error) {
      say(error.message, "error");
    }
  };

  words?.addEventListener("input", () => setText(200));
  file?.addEventListener("change", () => setPicture(file.files[0]));
  const target = facts.gallery ? document.body : part;
  if (drop) {
    target.addEventListener("dragover", (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
    target.addEventListener("dragleave", () => drop.classList.remove("over"));
    target.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      setPicture(event.dataTransfer.files[0]);
    });
    (facts.gallery ? document : part).addEventListener("paste", (event) => {
      const picture = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
      if (picture) setPicture(picture);
    });
  }
  part.closest("form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask(0);
  });
  for (const example of document.querySelectorAll(".example")) {
    example.addEventListener("click", () => {
      words.value = example.textContent;
      setText(0);
    });
  }
}
`;
