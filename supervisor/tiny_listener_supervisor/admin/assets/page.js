// The page: polls the server and shows the result.

const EVERY = 1000; // milliseconds from one poll to the next
const PATIENCE = 5000; // milliseconds until a poll times out
const MANY = 100; // maximum number of routes shown
const NEWS = 50; // maximum number of lines kept

const SOURCE = new URL("overview.json", location.href); // next to the page, also behind a proxy
SOURCE.username = SOURCE.password = ""; // fetch() refuses a URL with credentials; the browser sends them by itself

const by = (id) => document.getElementById(id);
const history_ = new History();
let shown = null; // the last overview
let silentSince = null; // when the server stopped answering, by the browser's clock

const graphs = [
  new Graph(by("throughput"), [{ key: "rate", name: "events/s", color: "blue", area: true }, { key: "errors", name: "errors/s", color: "red" }], rateText, 1),
  new Graph(by("latency"), [{ key: "p50", name: "p50", color: "blue" }, { key: "p95", name: "p95", color: "amber" }, { key: "p99", name: "p99", color: "red" }], durationText, 0.001),
  new Graph(by("missing"), [{ key: "missing", name: "404s/s", color: "violet", area: true }], rateText, 1),
];

const workers = new Table(by("workers"), [
  { name: "Slot" },
  { name: "State", className: "left" },
  { name: "PID" },
  { name: "Age" },
  { name: "CPU", title: "Of one core, over the last 5 seconds" },
  { name: "Memory", title: "Resident" },
  { name: "Queue", title: "Connections that wait to be accepted" },
  { name: "Loop lag", title: "The longest that the event loop was late in the last 15 to 30 seconds" },
  { name: "Events/s" },
  { name: "Events", title: "That this process has dispatched" },
  { name: "Restarts", title: "Workers of the slot that died and were followed by another" },
  { name: "Last exit", className: "text" },
]);

const COLUMNS = [
  { name: "Route", className: "text route" },
  { name: "Events/s" },
  { name: "p50" },
  { name: "p95" },
  { name: "p99" },
  { name: "Errors/s", title: "Events whose handler or hooks raised, or that took too long" },
  { name: "Events", title: "Since the server started" },
  { name: "Errors", title: "Since the server started" },
  { name: "4xx", title: "Responses since the server started" },
  { name: "5xx", title: "Responses since the server started" },
];
const routes = new Table(by("routes"), COLUMNS);
for (const name of ["Events/s", "p99", "Errors/s", "Events", "Errors", "5xx", "Route"]) {
  by("order").append(new Option(name === "Route" ? "name" : name, name));
}

const published = new Table(by("published"), [
  { name: "Route", className: "text route" },
  { name: "Published/s", title: "Stored a second, over the last 10 seconds" },
  { name: "Settled/s", title: "Over the last 10 seconds" },
  { name: "Unsettled", title: "Waiting, delayed or in flight" },
  { name: "Published", title: "Stored since the store was created" },
  { name: "Settled", title: "Ended well since the store was created" },
  { name: "Failed attempts", title: "With an error, a timeout, or the death of their worker" },
  { name: "Refused", title: "Not stored: the store was full or failed" },
  { name: "Dead", title: "Given up since the store was created, by reason" },
]);

const number = (n, write, bad = false) => ({ text: write(n), className: n ? (bad ? "bad" : "") : "zero" });

function showServer({ server, version, python, measured }) {
  const count = server.workers;
  setText(by("version"), version);
  by("state").dataset.state = server.state;
  setText(by("state"), server.state);
  setText(by("where"), server.addresses.join(", "));
  setText(by("facts"), `${count} worker${count === 1 ? "" : "s"} · pid ${server.pid} · up ${ageText(server.age)} · Python ${python}`);
  document.title = `${server.state}: ${server.addresses[0] || "tiny-listener"}`;
  const reload = server.reload;
  by("reload").hidden = reload === null;
  if (reload !== null) setText(by("reload"), `Reload ${reload.version}: ${reload.state}${reload.failure ? `: ${reload.failure}` : ""}`);
  for (const id of ["graphs", "totals", "routes-section"]) by(id).hidden = measured === null;
  by("unmeasured").hidden = measured !== null;
}

function showWorkers({ server }) {
  workers.show(processesOf(server).map((one) => {
    const { cpu, rate } = history_.process(one.pid);
    return {
      key: `${one.slot}/${one.pid}`,
      cells: [
        { text: String(one.slot) },
        { text: one.state, state: one.state },
        { text: one.pid === null ? "–" : String(one.pid) },
        { text: ageText(one.age) },
        { text: cpu === null ? "–" : `${(cpu * 100).toFixed(0)} %` },
        { text: bytesText(one.rss) },
        number(one.accept_queue, countText),
        { text: durationText(one.lag), className: one.lag > 0.25 ? "bad" : "" },
        number(rate, rateText),
        number(one.events, countText),
        number(one.restarts, countText),
        { text: one.last_exit || "" },
      ],
    };
  }));
}

const totalOf = (counts) => Object.values(counts).reduce((total, n) => total + n, 0);
const reasonsOf = (counts) => Object.entries(counts).filter(([, n]) => n > 0).map(([reason, n]) => `${reason} ${countText(n)}`).join(", ");

function showPublished({ server: { events } }) {
  by("published-section").hidden = !events;
  if (!events) return;
  by("store-failure").hidden = events.failure === null;
  setText(by("store-failure"), events.failure === null ? "" : `The store cannot write: ${events.failure}`);
  const rows = [...events.routes].sort((a, b) => b.counters.unsettled - a.counters.unsettled || (a.route < b.route ? -1 : 1));
  published.show(rows.slice(0, MANY).map(({ route, counters: { published: taken, attempts, settled, dead, unsettled } }) => {
    const rates = history_.published(route);
    return {
      key: route,
      cells: [
        { text: route },
        number(rates && rates[0], rateText),
        number(rates && rates[1], rateText),
        number(unsettled, countText),
        number(taken.stored || 0, countText),
        number(settled.ok || 0, countText),
        number(totalOf(attempts) - (attempts.ok || 0), countText),
        number((taken.overloaded || 0) + (taken.failed || 0), countText, true),
        totalOf(dead) ? { text: `${countText(totalOf(dead))} (${reasonsOf(dead)})` } : number(0, countText),
      ],
    };
  }));
  by("published").hidden = rows.length === 0;
  by("more-published").hidden = rows.length <= MANY;
  setText(by("more-published"), `${countText(rows.length - MANY)} more routes: tiny-listenerctl events shows them.`);
  setText(by("carried"), eventsText(events));
}

function eventsText({ waiting, delayed, oldest, retries, in_flight, dead, halted, store, store_bytes }) {
  const reasons = reasonsOf(dead);
  return [
    `${countText(waiting)} waiting${oldest === null ? "" : `, the oldest for ${ageText(oldest)}`}`,
    `${countText(retries)} of them for a retry`,
    `${countText(delayed)} published for later`,
    `${countText(totalOf(in_flight))} in flight`,
    `${countText(totalOf(dead))} dead${reasons ? ` (${reasons})` : ""}`,
    `${countText(halted)} halted keys`,
    `${store} ${bytesText(store_bytes)}`,
  ].join(" · ");
}

function routeRows({ counts }) {
  const span = history_.over(Number(by("span").value));
  const wanted = by("find").value.toLowerCase();
  return counts.routes.filter(({ event }) => event.toLowerCase().includes(wanted)).map((route) => ({
    event: route.event,
    ...(span ? figures(span.routes.get(route.event), span.seconds, counts.bounds) : { rate: null, errors: null, p50: null, p95: null, p99: null }),
    events: route.buckets.reduce((sum, n) => sum + n, 0),
    failed: route.outcomes.error + route.outcomes.timeout,
    refused: route.responses["4xx"] || 0,
    broken: route.responses["5xx"] || 0,
  }));
}

function showRoutes(measured) {
  const key = { "Events/s": "rate", "Errors/s": "errors", Events: "events", Errors: "failed", "5xx": "broken", p99: "p99" }[by("order").value];
  const rows = routeRows(measured);
  const least = (n) => (n === null ? -1 : n);
  rows.sort((a, b) => (key && least(b[key]) - least(a[key])) || (key && b.events - a.events) || (a.event < b.event ? -1 : 1));
  routes.show(rows.slice(0, MANY).map((row) => ({
    key: row.event,
    cells: [
      { text: row.event },
      number(row.rate, rateText),
      ...[row.p50, row.p95, row.p99].map((n) => number(n, durationText)),
      number(row.errors, rateText, true),
      number(row.events, countText),
      number(row.failed, countText),
      number(row.refused, countText),
      number(row.broken, countText),
    ],
  })));
  const more = rows.length - MANY;
  const none = measured.counts.routes.length ? "No route has this text." : "No route is registered yet.";
  by("more").hidden = more <= 0 && rows.length > 0;
  setText(by("more"), rows.length === 0 ? none : `${countText(more)} more: look for them by their text.`);
}

function showTotals({ counts, in_progress: inProgress, connections, restarts }) {
  const events = counts.routes.reduce((sum, { buckets }) => buckets.reduce((all, n) => all + n, sum), 0);
  const errors = counts.routes.reduce((sum, { outcomes }) => sum + outcomes.error + outcomes.timeout, 0);
  const reasons = Object.entries(restarts || {}).filter(([, n]) => n > 0).map(([reason, n]) => `${reason} ${countText(n)}`);
  const span = history_.over(Number(by("span").value));
  setText(by("in-progress"), countText(inProgress));
  setText(by("connections"), countText(connections));
  setText(by("events"), countText(events));
  setText(by("errors"), countText(errors));
  setText(by("not-found"), countText(counts.not_found));
  setText(by("not-found-rate"), rateText(span && span.missing / span.seconds));
  setText(by("restarts"), restarts === null ? "no supervisor" : reasons.join(", ") || "none");
}

function showGraphs(now) {
  for (const graph of graphs) graph.draw(history_.points, history_.marks, now);
  const last = history_.points.at(-1);
  const [rate, slow, missing] = last ? [rateText(last.rate), durationText(last.p99), rateText(last.missing)] : ["–", "–", "–"];
  setText(by("throughput").querySelector("output"), rate);
  setText(by("latency").querySelector("output"), slow === "–" ? slow : `p99 ${slow}`);
  setText(by("missing").querySelector("output"), missing);
}

function tell(now, text) {
  const line = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = new Date(now).toLocaleTimeString();
  line.append(time, text);
  const news = by("news");
  if (news.querySelector("time") === null) news.replaceChildren();
  news.prepend(line);
  while (news.children.length > NEWS) news.lastChild.remove();
  history_.mark(now);
}

// Report what has changed from one overview of a server to the next.
function tellChanges(now, before, after) {
  const [earlier, later] = [processesOf(before.server), processesOf(after.server)];
  const known = new Set(earlier.map(({ pid }) => pid));
  const alive = new Set(later.map(({ pid }) => pid));
  const nameOf = ({ slot, pid }) => `${slot === CARRIER ? "The carrier of events" : `Worker ${slot}`} (pid ${pid})`;
  for (const one of earlier) {
    if (one.pid === null || alive.has(one.pid)) continue;
    const exit = later.find(({ slot }) => slot === one.slot)?.last_exit;
    tell(now, `${nameOf(one)} has ended${exit ? `: ${exit}` : ""}`);
  }
  for (const one of later) {
    if (one.pid !== null && !known.has(one.pid)) tell(now, `${nameOf(one)} has started`);
  }
  const [was, is] = [before.server, after.server];
  if (was.state !== is.state) tell(now, `The server is ${is.state}`);
  if (is.reload && (was.reload?.version !== is.reload.version || was.reload?.state !== is.reload.state)) {
    tell(now, `Reload ${is.reload.version}: ${is.reload.state}`);
  }
}

function show(overview, now) {
  const other = history_.add(overview, now);
  if (other) tell(now, `Another server answers: pid ${overview.server.pid}`);
  else if (silentSince !== null) tell(now, "The server answers again");
  else if (shown !== null) tellChanges(now, shown, overview);
  silentSince = null;
  shown = overview;
  by("gone").hidden = true;
  document.body.classList.remove("stale");
  showServer(overview);
  showWorkers(overview);
  showPublished(overview);
  if (overview.measured !== null) {
    showTotals(overview.measured);
    showRoutes(overview.measured);
    showGraphs(now);
  }
  setText(by("asked"), `as of ${new Date(now).toLocaleTimeString()}`);
}

function showSilence(now, why) {
  if (silentSince === null) {
    silentSince = now;
    tell(now, why);
  }
  history_.gap(now);
  by("state").dataset.state = "gone";
  setText(by("state"), "gone");
  document.title = "gone: tiny-listener";
  document.body.classList.add("stale");
  const since = new Date(silentSince).toLocaleTimeString();
  const rest = shown ? " What is below is what was known then." : "";
  by("gone").hidden = false;
  setText(by("gone"), `${why}, since ${since}. This page asks again every second.${rest}`);
  showGraphs(now);
}

async function poll() {
  const began = Date.now();
  try {
    const response = await fetch(SOURCE, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (response.status === 401) showSilence(began, "The server requires a token that this page does not have: reload the page");
    else if (!response.ok) showSilence(began, `The server answers ${response.status}`);
    else show(await response.json(), Date.now());
  } catch (error) {
    if (!(error instanceof DOMException || error instanceof TypeError || error instanceof SyntaxError)) throw error;
    showSilence(Date.now(), "The server does not answer");
  } finally {
    setTimeout(poll, Math.max(100, EVERY - (Date.now() - began)));
  }
}

for (const id of ["span", "order"]) by(id).addEventListener("change", () => { if (shown?.measured) { showTotals(shown.measured); showRoutes(shown.measured); } });
by("find").addEventListener("input", () => { if (shown?.measured) showRoutes(shown.measured); });
poll();
