"use strict";
// Asks once a second, while somebody looks, and shows what has changed. Nothing that comes from clients is ever put in
// as anything but text.

const by = (id) => document.getElementById(id);
const view = { search: "", state: "", sort: "key", order: "natural", page: 1, per_page: 50 };
const open = new Set();
const rates = [];
let token = null, last = null, timer = null, seenAt = null, asking = null;

// The token comes behind `#`, which browsers send to nobody, or is typed; it lives as long as this tab.
const given = location.hash.slice(1).replace(/^token=/, "");
if (/^[0-9a-fA-F]{64}$/.test(given)) {
  sessionStorage.setItem("token", given);
  history.replaceState(null, "", location.pathname);
}
token = sessionStorage.getItem("token");

// ---- words ----

const number = new Intl.NumberFormat("en");

function lasting(millis) {
  if (millis === null || millis === undefined) return "–";
  const units = [[86400000, "d"], [3600000, "h"], [60000, "min"], [1000, "s"]];
  if (millis < 1000) return `${millis} ms`;
  if (millis < 10000) return `${(millis / 1000).toFixed(1)} s`;
  const at = units.findIndex(([length]) => millis >= length);
  const [length, unit] = units[at];
  const first = `${Math.floor(millis / length)} ${unit}`;
  if (at + 1 >= units.length) return first;
  const rest = Math.floor((millis % length) / units[at + 1][0]);
  return rest ? `${first} ${rest} ${units[at + 1][1]}` : first;
}

// Control characters and marks of direction are shown as what they are.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const shown = (text) => String(text).replace(UNSEEN, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

function make(name, className, ...inside) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...inside.filter((part) => part !== null && part !== undefined));
  return element;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const nameOf = (party) => shown(party.label || party.process || "somebody");

function restOf(party) {
  const words = [];
  if (party.label && party.process && party.label !== party.process) words.push(party.process);
  if (party.pid) words.push(`pid ${party.pid}`);
  if (party.who) words.push(party.who);
  if (party.host) words.push(`on ${party.host}`);
  return words.map(shown).join(" · ");
}

// ---- asking ----

class Unwelcome extends Error {}

async function ask(path, options = {}) {
  const headers = { ...options.headers, Authorization: `Bearer ${token}` };
  const answer = await fetch(path, { ...options, headers, signal: options.signal ?? AbortSignal.timeout(8000) });
  if (answer.status === 401) throw new Unwelcome("That is not the token of this server.");
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error || `The server answers ${answer.status}.`);
  return said;
}

async function look() {
  clearTimeout(timer);
  asking?.abort();
  if (!token) return gate();
  const round = new AbortController();
  asking = round;
  const signal = AbortSignal.any ? AbortSignal.any([round.signal, AbortSignal.timeout(8000)]) : round.signal;
  try {
    const query = new URLSearchParams(view);
    const [locks, graph, clients] = await Promise.all([
      ask(`/api/locks?${query}`, { signal }), ask("/api/graph", { signal }), ask("/api/clients?per_page=60", { signal }),
    ]);
    seenAt = new Date();
    show(locks, graph, clients);
  } catch (error) {
    if (round.signal.aborted) return;
    if (error instanceof Unwelcome) return gate(error.message);
    fail(error);
  }
  if (!document.hidden) timer = setTimeout(look, 1000);
}

document.addEventListener("visibilitychange", () => document.hidden ? clearTimeout(timer) : look());

function fail(error) {
  by("live").className = "live off";
  put(by("live-text"), "no answer");
  by("main").classList.add("stale");
  const why = error instanceof TypeError || error.name === "TimeoutError"
    ? "The server does not answer: it has been stopped, or cannot be reached from here." : error.message;
  const since = seenAt ? ` What you see was so at ${seenAt.toLocaleTimeString()}.` : "";
  notice(`${why}${since} Trying again every second.`);
}

function notice(text, mild) {
  by("notice").hidden = !text;
  by("notice").className = mild ? "notice mild" : "notice";
  put(by("notice"), text || "");
}

// ---- showing ----

function show(locks, graph, clients) {
  by("main").hidden = false;
  by("main").classList.remove("stale");
  by("live").className = "live on";
  put(by("live-text"), "live");
  const { server } = locks;
  if (server.stalled) notice("The journal cannot be written, the disk may be full: nothing new is granted until it can.");
  else if (server.recovering_ms !== null) {
    notice(`What was granted before the restart is not known, so nothing is granted for another ${lasting(server.recovering_ms)}.`, true);
  } else notice("");
  put(by("server"), `${shown(server.process)} ${shown(server.version)} · pid ${server.pid} · up for ${lasting(server.serving_for_ms)}`);
  showFigures(locks);
  showGraph(graph);
  showLocks(locks);
  showClients(clients, locks.totals);
}

function showFigures({ totals, counted, server }) {
  put(by("keys"), number.format(totals.keys));
  put(by("keys-note"), `${number.format(totals.holds)} ${totals.holds === 1 ? "hold" : "holds"}`);
  put(by("waiters"), number.format(totals.waiters));
  by("waiters").parentElement.classList.toggle("some", totals.waiters > 0);
  put(by("clients"), number.format(totals.clients));
  const away = totals.clients - totals.connected;
  put(by("clients-note"), away ? `${away} not connected` : totals.clients ? "all connected" : "");
  const now = { at: server.serving_for_ms, pid: server.pid, ...counted };
  if (last && (last.pid !== now.pid || now.at < last.at)) { last = null; rates.length = 0; }
  if (last && now.at > last.at) {
    const seconds = (now.at - last.at) / 1000;
    rates.push((now.grants - last.grants) / seconds);
    if (rates.length > 60) rates.shift();
  }
  if (!last || now.at > last.at) last = now;
  const rate = rates.at(-1);
  put(by("rate"), rate === undefined ? "…" : rate >= 10 ? number.format(Math.round(rate)) : rate.toFixed(1).replace(/\.0$/, ""));
  put(by("rate-note"), `${number.format(counted.grants)} in all`);
  const share = counted.grants ? counted.waits / (counted.grants + counted.contended + counted.timeouts) : 0;
  put(by("share"), `${(100 * share).toFixed(share && share < .1 ? 1 : 0)} %`);
  put(by("share-note"), counted.timeouts + counted.contended ? `${number.format(counted.contended + counted.timeouts)} went without` : "nobody went without");
  put(by("lost"), number.format(counted.lost));
  put(by("lost-note"), counted.stolen ? `${number.format(counted.stolen)} stolen` : "none stolen");
  put(by("waiters-note"), counted.deadlocks ? `${number.format(counted.deadlocks)} deadlocks refused` : "");
  spark();
}

function spark() {
  const most = Math.max(...rates, 1);
  const points = rates.map((rate, at) => `${(120 - (rates.length - 1 - at) * 2).toFixed(1)} ${(34 - 30 * rate / most).toFixed(1)}`);
  const path = (name, d) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
    element.setAttribute("class", name);
    element.setAttribute("d", d);
    return element;
  };
  if (points.length < 2) return by("spark").replaceChildren();
  const first = points[0].split(" ")[0];
  by("spark").replaceChildren(path("area", `M${first} 36 L${points.join(" L")} L120 36 Z`), path("line", `M${points.join(" L")}`));
}

let drawn = "";
function showGraph(graph) {
  // A wide window has room for another drawing of the same.
  const said = JSON.stringify(graph) + by("graph").clientWidth;
  if (said === drawn) return;
  drawn = said;
  put(by("graph-note"), !graph.contended ? "" : graph.drawn < graph.contended
    ? `the ${graph.drawn} most contended of ${number.format(graph.contended)} locks that somebody waits for`
    : `${graph.contended} ${graph.contended === 1 ? "lock" : "locks"} that somebody waits for`);
  if (!graph.contended) by("graph").replaceChildren(make("p", "", "Nobody waits."));
  else drawGraph(by("graph"), graph, shown, lasting);
}

// ---- the table ----

const rows = new Map();

function showLocks(answer) {
  view.page = answer.page;
  const wanted = answer.locks.flatMap((lock) => {
    const row = rows.get(lock.key) ?? newRow(lock.key);
    rows.set(lock.key, row);
    fillRow(row, lock);
    if (!open.has(lock.key)) return [row.line];
    fillDetail(row, lock);
    return [row.line, row.detail];
  });
  const keys = new Set(answer.locks.map((lock) => lock.key));
  for (const key of rows.keys()) if (!keys.has(key)) rows.delete(key);
  // What is where it should be is left alone, so that a selection or the focus stays.
  const body = by("rows");
  wanted.forEach((line, at) => { if (body.children[at] !== line) body.insertBefore(line, body.children[at] ?? null); });
  while (body.children.length > wanted.length) body.lastElementChild.remove();
  showEmpty(answer);
  const from = (answer.page - 1) * answer.per_page;
  put(by("matching"), answer.matching ? `${number.format(from + 1)}–${number.format(from + answer.locks.length)} of ${number.format(answer.matching)}${answer.matching < answer.totals.keys ? `, out of ${number.format(answer.totals.keys)}` : ""}` : "");
  put(by("page"), `${number.format(answer.page)} / ${number.format(answer.pages)}`);
  by("first").disabled = by("before").disabled = answer.page === 1;
  by("after").disabled = by("last").disabled = answer.page === answer.pages;
  by("last").dataset.page = answer.pages;
  document.querySelector(".pages").hidden = !answer.matching;
  by("locks").hidden = !answer.matching;
  by("sort").value = view.sort;
  for (const button of document.querySelectorAll("th button")) {
    const head = button.parentElement, rises = ["key", "holder"].includes(view.sort) === (view.order === "natural");
    if (button.dataset.sort === view.sort) head.setAttribute("aria-sort", rises ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
}

function showEmpty(answer) {
  const empty = by("empty");
  const kind = answer.matching ? "" : answer.totals.keys ? `no:${view.search}:${view.state}` : "none";
  empty.hidden = !kind;
  if (empty.dataset.kind === kind) return;
  empty.dataset.kind = kind;
  if (kind === "none") {
    empty.replaceChildren(make("strong", "", "Nobody holds a lock."),
      "To see one come and go: ", make("code", "", "locks run backup -- sleep 10"));
  } else if (kind) {
    const again = make("button", "plain", "Show all");
    again.addEventListener("click", () => { by("filter").reset(); change({ search: "", state: "" }); });
    empty.replaceChildren(make("strong", "", view.search ? `Nothing is called “${shown(view.search)}” here.` : "No lock is in that state."),
      `There are ${number.format(answer.totals.keys)} locks in all.`, make("br"), again);
  }
}

function newRow(key) {
  const toggle = make("button", "toggle", make("span", "cut key", shown(key)));
  toggle.setAttribute("aria-expanded", "false");
  toggle.title = shown(key);
  const cells = Array.from({ length: 6 }, (_, at) => make("td", at > 2 ? "number" : ""));
  cells[0].append(toggle);
  const line = make("tr", "lock", ...cells);
  const inside = make("td");
  inside.colSpan = 6;
  line.addEventListener("click", () => {
    // Who marks a text does not mean to open it.
    if (String(getSelection()).length) return;
    if (!open.delete(key)) open.add(key);
    look();
  });
  return { line, toggle, cells, detail: make("tr", "detail", inside), inside };
}

function fillRow({ line, toggle, cells }, lock) {
  const [holder, ...others] = lock.holders;
  toggle.setAttribute("aria-expanded", open.has(lock.key));
  line.className = `lock${lock.waiters.length ? " waited" : ""}${open.has(lock.key) ? " open" : ""}`;
  const ages = lock.holders.map((each) => each.age_ms).filter((age) => age !== null);
  const waits = lock.waiters.map((each) => each.waited_ms);
  const fill = (at, signature, build) => {
    if (cells[at].dataset.said === signature) return;
    cells[at].dataset.said = signature;
    cells[at].replaceChildren(...build());
  };
  const who = holder ? nameOf(holder) : lock.reserved_ms !== null ? "nobody" : "about to be granted";
  const more = others.length ? `+ ${others.length}` : "";
  const mode = holder ? modeOf(holder) : "";
  const state = lock.reserved_ms !== null && !holder ? `reserved for ${lasting(lock.reserved_ms)}` : mode;
  fill(1, JSON.stringify([who, more, state, holder?.pid]), () => [make("span", "cut", make("span", holder ? "" : "none", who),
    holder?.pid ? make("span", "none", ` ${holder.pid}`) : null,
    more ? make("span", "tag", more) : null, state ? make("span", "tag", state) : null)]);
  const site = holder?.site || holder?.command || "";
  fill(2, site, () => [make("span", "cut site", shown(site))]);
  cells[2].title = shown(site);
  put(cells[3], ages.length ? lasting(Math.max(...ages)) : "–");
  fill(4, String(lock.waiters.length), () => [lock.waiters.length ? make("span", "count", number.format(lock.waiters.length)) : make("span", "none", "–")]);
  fill(5, waits.length ? lasting(Math.max(...waits)) : "", () => [waits.length ? lasting(Math.max(...waits)) : make("span", "none", "–")]);
}

function modeOf(each) {
  if (each.mode === "exclusive") return "";
  if (each.mode !== "permit") return each.mode;
  return each.take > 1 ? `${each.take} of ${each.permits} permits` : `permit of ${each.permits}`;
}

// Of a crowd the first are shown.
const SHOWN = 20;

function fillDetail({ inside }, lock) {
  const item = (kind, role, each, time, act) => {
    const details = [modeOf(each), each.site, each.command, each.token_text && `token ${each.token_text}`];
    return make("li", kind, make("span", "role", role),
      make("span", "who", make("span", "name", nameOf(each)), make("span", "more", restOf(each))), make("span", "lasting", time),
      make("span", "details more mono", details.filter(Boolean).map(shown).join(" · ")), act);
  };
  const take = (each, name) => {
    const button = make("button", "plain danger", "Take away…");
    button.addEventListener("click", (event) => { event.stopPropagation(); release(lock, each, name); });
    return button;
  };
  const focused = document.activeElement?.dataset?.token;
  const holders = lock.holders.slice(0, SHOWN).map((each) => {
    const button = each.token_text ? take(each.token_text, nameOf(each)) : null;
    if (button) button.dataset.token = each.token_text;
    return item("", "holds", each, `for ${lasting(each.age_ms)}`, button);
  });
  const reserved = lock.reserved_by_text.map((each) => make("li", "", make("span", "role", "reserved"),
    make("span", "who", make("span", "name", "nobody")), make("span", "lasting", `for another ${lasting(lock.reserved_ms)}`),
    make("span", "details more mono", `token ${each}`), take(each, "nobody")));
  const waiters = lock.waiters.slice(0, SHOWN).map((each, at) => item("waits", `waits, no. ${at + 1}`, each, `for ${lasting(each.waited_ms)}`));
  const more = [lock.holders, lock.waiters].map((all) => Math.max(0, all.length - SHOWN));
  const list = make("ul", "people", ...holders, ...reserved, ...waiters);
  inside.replaceChildren(lock.key.length > 40 ? make("p", "detail-key", shown(lock.key)) : "", list);
  if (more[0] + more[1]) inside.append(make("p", "note", `and ${number.format(more[0])} more holders, ${number.format(more[1])} more waiters`));
  if (focused) list.querySelector(`[data-token="${CSS.escape(focused)}"]`)?.focus();
}

// ---- clients ----

function showClients(answer, totals) {
  put(by("clients-more"), answer.matching > answer.clients.length ? `the ${answer.clients.length} with most locks of ${number.format(totals.clients)}` : "");
  by("client-list").replaceChildren(...answer.clients.map((client) => {
    const has = [client.holds ? `${number.format(client.holds)} held` : "", client.waits ? `${number.format(client.waits)} waiting` : ""].filter(Boolean).join(", ") || "idle";
    const state = client.connected ? `for ${lasting(client.since_ms)}` : `not connected for ${lasting(client.silent_ms)}`;
    const kept = client.kept_by === "lease" ? `lease ${lasting(client.lease_ms)}` : "";
    const rest = [restOf(client), kept, state].filter(Boolean).join(" · ");
    return make("li", "", make("span", "name cut", nameOf(client)), make("span", client.waits ? "has away" : "has", has),
      make("span", client.connected ? "more" : "more away", rest));
  }));
  if (!answer.clients.length) by("client-list").replaceChildren(make("li", "", make("span", "none", "No client is connected.")));
}

// ---- what one can do ----

function change(to) {
  Object.assign(view, { page: 1 }, to);
  look();
}

let typing = null;
by("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => change({ search: by("search").value }), 150);
});
by("filter").addEventListener("submit", (event) => event.preventDefault());
by("state").addEventListener("change", () => change({ state: by("state").value }));
by("sort").addEventListener("change", () => change({ sort: by("sort").value, order: "natural" }));
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const { sort } = button.dataset;
    const turned = view.sort === sort && view.order === "natural";
    change({ sort, order: turned ? "reverse" : "natural" });
  });
}
by("first").addEventListener("click", () => change({ page: 1 }));
by("before").addEventListener("click", () => change({ page: Math.max(1, view.page - 1) }));
by("after").addEventListener("click", () => change({ page: view.page + 1 }));
by("last").addEventListener("click", () => change({ page: Number(by("last").dataset.page) }));

function gate(why) {
  clearTimeout(timer);
  by("live").className = "live";
  put(by("live-text"), "locked");
  by("gate-error").hidden = !why;
  put(by("gate-error"), why || "");
  sessionStorage.removeItem("token");
  token = null;
  if (!by("gate").open) by("gate").showModal();
}
by("gate").addEventListener("cancel", (event) => event.preventDefault());
by("gate-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = by("token").value.trim();
  if (!/^[0-9a-fA-F]{64}$/.test(token)) return gate("A token has 64 digits from 0 to f.");
  sessionStorage.setItem("token", token);
  by("token").value = "";
  by("gate").close();
  look();
});

let leaving = null;
function release(lock, number, name) {
  leaving = { key: lock.key, token: number };
  const what = [["Lock", shown(lock.key)], ["Held by", name], ["Token", number]];
  by("release-what").replaceChildren(...what.flatMap(([term, text]) => [make("dt", "", term), make("dd", "", text)]));
  by("release-error").hidden = true;
  by("release").showModal();
  by("release-no").focus();
}
by("release-no").addEventListener("click", () => by("release").close());
by("release-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { key, token: number } = leaving;
  try {
    const body = JSON.stringify({ key, token: number, confirm: key });
    const { released } = await ask("/api/release", { method: "POST", body, headers: { "Content-Type": "application/json" } });
    by("release").close();
    toast(released ? "It was taken away." : "It was over already: nothing was taken away.");
    look();
  } catch (error) {
    by("release-error").hidden = false;
    put(by("release-error"), error.message);
  }
});

function toast(text) {
  put(by("toast"), text);
  by("toast").hidden = false;
  setTimeout(() => { by("toast").hidden = true; }, 4000);
}

look();
