// Keeps a page live: changes come as server-sent events, and the page is drawn anew by the server.
// Without this script the pages show the same, as of when they were loaded.
"use strict";

const UTC_KEY = "milepost.utc";

function ago(from) {
  const seconds = Math.max(0, Math.round((Date.now() - from) / 1000));
  if (seconds < 60) return seconds < 5 ? "just now" : `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.round(hours / 24)} days ago`;
}

function drawAges() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    time.title = time.title || time.textContent.trim();
    time.textContent = ago(Date.parse(time.dateTime));
  }
}

function drawClocks() {
  const button = document.getElementById("clocks");
  if (!button) return;
  const utc = localStorage.getItem(UTC_KEY) === "1";
  document.documentElement.classList.toggle("show-utc", utc);
  button.hidden = false;
  button.setAttribute("aria-pressed", String(utc));
  button.onclick = () => {
    localStorage.setItem(UTC_KEY, utc ? "0" : "1");
    drawClocks();
  };
}

function drawLive(on) {
  const live = document.getElementById("live");
  live.classList.toggle("on", on);
  live.title = on ? "Changes appear by themselves" : "Connection lost, trying again";
  live.firstElementChild.textContent = `${live.title}.`;
}

function entries(root) {
  return new Set([...root.querySelectorAll("[data-entry]")].map((item) => item.dataset.entry));
}

// Takes over what the server drew, and leaves open what the reader had opened
async function redraw() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const main = document.querySelector("main");
  const known = entries(main);
  const opened = [...main.querySelectorAll("details[open]")].map((item) => item.dataset.key);
  const focused = document.activeElement?.closest?.("details")?.dataset.key;
  for (const part of ["main", "#banner"]) {
    document.querySelector(part).replaceChildren(...fresh.querySelector(part).childNodes);
  }
  document.title = fresh.title;
  const arrived = [];
  for (const item of main.querySelectorAll("[data-entry]")) {
    if (known.has(item.dataset.entry)) continue;
    item.classList.add("just-now");
    arrived.push(item.dataset.label);
  }
  for (const item of main.querySelectorAll("details")) {
    item.open = opened.includes(item.dataset.key);
    if (item.dataset.key === focused) item.querySelector("summary").focus();
  }
  const news = document.getElementById("news");
  if (news && known.size && arrived.length) news.textContent = `New: ${arrived.join(", ")}`;
  drawAges();
  drawClocks();
}

let drawing = Promise.resolve();
let waiting = null;

// Waits for changes that come together, but never longer than the pace
function redrawSoon() {
  if (waiting) return;
  const pace = document.querySelector(".story") ? 200 : 1000;
  waiting = setTimeout(() => {
    waiting = null;
    drawing = drawing.then(redraw).catch(() => drawLive(false));
  }, pace);
}

function listen() {
  const address = document.body.dataset.stream;
  if (!address || !window.EventSource) return;
  const stream = new EventSource(address);
  stream.addEventListener("open", () => drawLive(true));
  stream.addEventListener("error", () => drawLive(false));
  stream.addEventListener("changed", redrawSoon);
  stream.addEventListener("freshness", (event) => {
    const now = JSON.parse(event.data);
    document.getElementById("verified").classList.toggle("stale", now.stale);
    const shown = document.querySelector("#verified time");
    if (now.stale !== Boolean(document.querySelector("#banner .banner"))) redrawSoon();
    if (!shown || !now.verified_at) return;
    shown.dateTime = now.verified_at;
    shown.title = now.verified_at;
    drawAges();
  });
  addEventListener("pagehide", () => stream.close());
}

drawAges();
drawClocks();
listen();
setInterval(drawAges, 5000);
