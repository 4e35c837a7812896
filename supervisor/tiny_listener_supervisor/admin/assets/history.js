// History: the results of polls, for the time span of the graphs. It computes rates from counters.

const KEEP = 300; // seconds of the graphs
const FINE = 15; // seconds for which every poll is kept; of older ones, one every five seconds: there may be many routes
const COARSE = 5;

// The counters of a poll: of each route, and of each process.
function counters(overview) {
  const routes = new Map();
  const measured = overview.measured;
  for (const route of measured ? measured.counts.routes : []) {
    const { error, timeout } = route.outcomes;
    routes.set(route.event, [error + timeout, route.responses["4xx"] || 0, route.responses["5xx"] || 0, ...route.buckets]);
  }
  const processes = new Map();
  for (const one of processesOf(overview.server)) if (one.pid !== null) processes.set(one.pid, [one.cpu, one.events]);
  const published = new Map();
  for (const { route, counters: one } of overview.server.events?.routes || []) {
    published.set(route, [one.published.stored || 0, Object.values(one.settled).reduce((all, n) => all + n, 0)]);
  }
  return { clock: overview.clock, routes, processes, published, missing: measured ? measured.counts.not_found : 0 };
}

// What was counted between two polls: of a route [errors, 4xx, 5xx, ...buckets]. A route that is new began at zero; a
// counter that decreased, which should not happen, started again at zero.
function between(older, newer) {
  const seconds = newer.clock - older.clock;
  const routes = new Map();
  const sum = [];
  for (const [event, now] of newer.routes) {
    const before = older.routes.get(event);
    const fresh = before === undefined || now.some((n, i) => n < before[i]);
    const difference = fresh ? now : now.map((n, i) => n - before[i]);
    routes.set(event, difference);
    difference.forEach((n, i) => { sum[i] = (sum[i] || 0) + n; });
  }
  const missing = newer.missing - older.missing;
  return { seconds, routes, sum, missing: missing < 0 ? newer.missing : missing };
}

// The rows of the table of workers: the processes by slot, then the carrier of published events if there is one.
const CARRIER = "carrier";
const processesOf = ({ processes, carrier }) =>
  carrier ? [...processes, { slot: CARRIER, accept_queue: null, events: null, ...carrier }] : processes;

// The rates and latencies of what was counted.
function figures(difference, seconds, bounds) {
  if (difference === undefined || difference.length === 0) return { rate: 0, errors: 0, p50: null, p95: null, p99: null };
  const buckets = difference.slice(3);
  const count = buckets.reduce((all, n) => all + n, 0);
  const [p50, p95, p99] = [0.5, 0.95, 0.99].map((q) => quantile(q, buckets, bounds));
  return { rate: count / seconds, errors: difference[0] / seconds, p50, p95, p99 };
}

class History {
  constructor() {
    this.instance = null;
    this.polls = []; // counters, the oldest first, all of one instance
    this.points = []; // for the graphs, by the browser's clock in milliseconds
    this.marks = []; // when something happened to the server
  }

  // Add a poll; return whether a different server answers than before.
  add(overview, now) {
    const other = this.instance !== null && this.instance !== overview.instance;
    if (this.instance !== overview.instance) this.polls = [];
    this.instance = overview.instance;
    const poll = counters(overview);
    const last = this.polls.at(-1);
    if (other) this.gap(now);
    if (last !== undefined && poll.clock > last.clock && overview.measured) {
      const difference = between(last, poll);
      const all = figures(difference.sum, difference.seconds, overview.measured.counts.bounds);
      this.points.push({ at: now, ...all, missing: difference.missing / difference.seconds });
    }
    this.polls.push(poll);
    this.thin(poll.clock, now);
    return other;
  }

  // Nothing is known from the last point to here.
  gap(now) {
    if (this.points.length > 0 && this.points.at(-1).rate !== null) {
      this.points.push({ at: now, rate: null, errors: null, p50: null, p95: null, p99: null, missing: null });
    }
  }

  mark(now) {
    this.marks.push(now);
  }

  thin(clock, now) {
    let kept = -Infinity;
    this.polls = this.polls.filter((poll) => {
      if (poll.clock < clock - KEEP - COARSE) return false;
      if (poll.clock < clock - FINE && poll.clock < kept + COARSE) return false;
      kept = poll.clock;
      return true;
    });
    const oldest = now - KEEP * 1000 - 5000;
    this.points = this.points.filter((point) => point.at >= oldest);
    this.marks = this.marks.filter((at) => at >= oldest);
  }

  // What was counted in the last `seconds`, or since the first poll; null before the second one.
  over(seconds) {
    const last = this.polls.at(-1);
    if (last === undefined) return null;
    const older = this.polls.findLast((poll) => poll.clock <= last.clock - seconds + 0.25) || this.polls[0];
    return older.clock < last.clock ? between(older, last) : null;
  }

  // Events of a route that were published, and settled, a second, over the last 10 seconds; null before the second poll.
  published(route) {
    const last = this.polls.at(-1);
    const older = this.polls.find((poll) => poll.clock >= last.clock - 10.25);
    if (older === last) return null;
    const before = older.published.get(route) || [0, 0];
    return last.published.get(route).map((n, i) => Math.max(0, n - before[i]) / (last.clock - older.clock));
  }

  // Recent use of a process: the share of a core, and its events per second; null where that is not known yet.
  process(pid) {
    const last = this.polls.at(-1);
    const known = this.polls.filter((poll) => poll.clock >= last.clock - 5.25 && poll.processes.has(pid));
    if (known.length < 2) return { cpu: null, rate: null };
    const [older, newer] = [known[0], last];
    const rates = newer.processes.get(pid).map((n, i) => {
      const before = older.processes.get(pid)[i];
      return n === null || before === null ? null : Math.max(0, n - before) / (newer.clock - older.clock);
    });
    return { cpu: rates[0], rate: rates[1] };
  }
}
