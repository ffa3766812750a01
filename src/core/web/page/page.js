(() => {
"use strict";
const one = (s, from = document) => from.querySelector(s);
const all = (s, from = document) => [...from.querySelectorAll(s)];
const live = one("#live"), age = one("#age"), pause = one("#pause"), filter = one("#filter"), problems = one("#problems"), banner = one("#banner");
const every = 1000 * Number(document.body.dataset.live);
document.documentElement.classList.add("on");

// What was chosen survives a reload of this tab.
const kept = { get: k => { try { return sessionStorage.getItem(k); } catch { return null; } }, set: (k, v) => { try { sessionStorage.setItem(k, v); } catch { /* not allowed here */ } } };
let paused = document.body.dataset.paused === "true" || kept.get("paused") === "1";
let updated = Date.now(), busy = false, lost = false;
filter.value = kept.get("filter") ?? "";
problems.checked = kept.get("problems") === "1";

// The address without the outcome of the last order.
const here = () => location.href.replace(/;st=[A-Z]+/, "").replace(/#.*$/, "");
if (location.href.includes(";st=")) history.replaceState(null, "", here());

function show() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean), only = problems.checked;
  let shown = 0;
  for (const card of all(".card")) {
    const name = card.dataset.w ?? "";
    let rows = 0;
    for (const row of all("tbody tr", card)) {
      const text = name + " " + row.dataset.w;
      const fits = words.every(w => text.includes(w)) && (!only || "p" in row.dataset);
      row.hidden = !fits;
      rows += fits ? 1 : 0;
    }
    card.hidden = rows === 0 && (only || words.length > 0);
    const sums = one("tfoot", card);
    if (sums) sums.hidden = only || words.length > 0;
    shown += card.hidden ? 0 : 1;
    count(card);
  }
  one("#nothing").hidden = shown > 0;
  kept.set("filter", filter.value);
  kept.set("problems", only ? "1" : "0");
}

const chosen = card => all("tbody input[name=s]:checked", card).filter(i => !i.closest("tr").hidden);

function count(card) {
  const apply = one(".apply", card);
  if (!apply) return;
  const boxes = all("tbody tr:not([hidden]) input[name=s]", card), n = chosen(card).length, head = one(".all", card);
  card.classList.toggle("picked", n > 0);
  apply.disabled = n === 0 || one("select", card).value === "";
  one(".chosen", card).textContent = n === 0 ? "" : n === 1 ? "1 server chosen" : n + " servers chosen";
  head.checked = n > 0 && n === boxes.length;
  head.indeterminate = n > 0 && n < boxes.length;
}

// Takes over what changed, cell by cell: choices, focus and scroll position stay.
function merge(next) {
  document.title = next.title;
  const keys = d => all("[data-k]", d).map(e => e.dataset.k).join(" ");
  if (keys(document) === keys(next)) {
    for (const fresh of all("[data-part]", next)) {
      const old = one(`[data-part="${fresh.dataset.part}"]`);
      if (old && old.innerHTML !== fresh.innerHTML) old.innerHTML = fresh.innerHTML;
    }
    const rows = new Map(all("[data-k]").map(e => [e.dataset.k, e]));
    for (const fresh of all("[data-k]", next)) {
      const old = rows.get(fresh.dataset.k);
      for (const name of ["class", "data-w", "data-p"]) {
        const value = fresh.getAttribute(name);
        if (value === old.getAttribute(name)) continue;
        if (value === null) old.removeAttribute(name); else old.setAttribute(name, value);
      }
      [...fresh.children].forEach((cell, i) => {
        const was = old.children[i];
        if (!was || was.classList.contains("pick")) return;
        if (was.className !== cell.className) was.className = cell.className;
        if (was.innerHTML !== cell.innerHTML) was.innerHTML = cell.innerHTML;
      });
    }
  } else {
    // Servers came or went.
    const picked = new Set(all("tbody input[name=s]:checked").map(i => i.closest("tr").dataset.k));
    all(".card").forEach(c => c.remove());
    const place = one("#nothing");
    all(".card", next).forEach(c => place.before(document.adoptNode(c)));
    all("tbody input[name=s]").forEach(i => { i.checked = picked.has(i.closest("tr").dataset.k); });
  }
  updated = Date.now();
  lost = false;
  show();
  tell();
}

const parse = async answer => {
  if (!answer.ok) throw new Error(answer.status + " " + answer.statusText);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
};

async function refresh() {
  if (busy) return;
  busy = true;
  try {
    merge(await parse(await fetch(here(), { headers: { Accept: "text/html" }, cache: "no-store" })));
  } catch (error) {
    lost = true;
    live.title = String(error);
    tell();
  } finally { busy = false; }
}

function tell() {
  const s = Math.round((Date.now() - updated) / 1000);
  const ago = s < 2 ? "just now" : s < 120 ? s + " s ago" : Math.floor(s / 60) + " min ago";
  age.textContent = lost ? "No answer, as of " + ago : paused ? "Paused, as of " + ago : "Updated " + ago;
  live.className = "js" + (lost ? " lost" : paused ? " paused" : "");
  pause.textContent = paused ? "Go on" : "Pause";
}

function hold(on) {
  paused = on;
  kept.set("paused", on ? "1" : "0");
  tell();
  if (!on) refresh();
}

// Asks before anything is done, and says what will happen to whom.
async function order(form) {
  const card = form.closest(".card"), picks = chosen(card), action = one("select", form).selectedOptions[0];
  if (picks.length === 0 || action.value === "") return;
  const backend = one("h2", card).textContent, n = picks.length;
  const ask = one("#ask"), yes = one("#askyes");
  one("#asktitle").textContent = action.textContent;
  one("#asktext").textContent = `${n === 1 ? "This server" : "These " + n + " servers"} of ${backend} ${action.dataset.effect}:`;
  one("#asklist").replaceChildren(...picks.map(p => Object.assign(document.createElement("li"), { textContent: p.value })));
  yes.textContent = `${action.textContent} (${n})`;
  yes.classList.toggle("danger", ["maint", "hdown", "shutdown"].includes(action.value));
  ask.returnValue = "no";
  ask.showModal();
  await new Promise(done => ask.addEventListener("close", done, { once: true }));
  if (ask.returnValue !== "yes") return;
  const body = new URLSearchParams();
  picks.forEach(p => body.append("s", p.value));
  body.append("action", action.value);
  body.append("b", one("input[name=b]", form).value);
  try {
    const next = await parse(await fetch(here(), { method: "POST", body, headers: { Accept: "text/html" }, cache: "no-store" }));
    const said = one("#banner", next);
    banner.className = said.className;
    banner.textContent = said.textContent;
    banner.hidden = said.hidden;
    if (said.classList.contains("good")) {
      picks.forEach(p => { p.checked = false; });
      one("select", form).value = "";
    }
    merge(next);
  } catch (error) {
    banner.className = "banner bad";
    banner.textContent = "The order was not carried out: " + error.message;
    banner.hidden = false;
  }
}

document.addEventListener("submit", event => {
  const form = event.target;
  if (form.id === "tools") event.preventDefault();
  if (form.method === "post") { event.preventDefault(); order(form); }
});
document.addEventListener("change", event => {
  const card = event.target.closest(".card");
  if (event.target.matches(".all")) all("tbody tr:not([hidden]) input[name=s]", card).forEach(i => { i.checked = event.target.checked; });
  if (card) count(card);
});
filter.addEventListener("input", show);
problems.addEventListener("change", show);
pause.addEventListener("click", () => hold(!paused));
const clear = () => { filter.value = ""; problems.checked = false; show(); };
one("#clear").addEventListener("click", clear);
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || one("#ask").open) return;
  if (event.key === "Escape") { clear(); document.activeElement.blur(); return; }
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  if (event.key === "/") { event.preventDefault(); filter.focus(); }
  if (event.key === "p") hold(!paused);
  if (event.key === "x") { problems.checked = !problems.checked; show(); }
});
document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) refresh(); });
setInterval(() => { if (!paused && !document.hidden && Date.now() - updated >= every) refresh(); }, 500);
setInterval(tell, 1000);
show();
tell();
})();
