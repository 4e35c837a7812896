"use strict";
// Numbers: the meaning and the format of counters and buckets. Pure functions.

// The duration, in seconds, within which the share q of some events was done, as Prometheus' histogram_quantile() has it:
// events lie evenly within a bucket. null without events; Infinity where it lies beyond the last bound.
function quantile(q, buckets, bounds) {
  const count = buckets.reduce((sum, n) => sum + n, 0);
  if (count === 0) return null;
  const rank = q * count;
  let below = 0;
  for (let i = 0; i < bounds.length; i += 1) {
    if (buckets[i] > 0 && below + buckets[i] >= rank) {
      const low = i === 0 ? 0 : bounds[i - 1];
      return low + ((bounds[i] - low) * (rank - below)) / buckets[i];
    }
    below += buckets[i];
  }
  return Infinity;
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

function countText(n) {
  return n === null || n === undefined ? "–" : whole.format(n);
}

function rateText(r) {
  if (r === null || r === undefined) return "–";
  if (r === 0) return "0";
  return r >= 100 ? whole.format(r) : r.toFixed(r >= 9.95 ? 1 : 2);
}

function durationText(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === Infinity) return "> 10 s";
  const [n, unit] = seconds >= 1 ? [seconds, "s"] : seconds >= 0.001 ? [seconds * 1e3, "ms"] : [seconds * 1e6, "µs"];
  return `${n >= 99.5 ? n.toFixed(0) : n >= 9.95 ? n.toFixed(1) : n.toFixed(unit === "µs" ? 0 : 2)} ${unit}`;
}

function ageText(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  const two = (n) => String(n).padStart(2, "0");
  if (s < 3600) return `${Math.floor(s / 60)}:${two(s % 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)} h`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

function bytesText(n) {
  if (!n) return "–";
  return n >= 2 ** 30 ? `${(n / 2 ** 30).toFixed(2)} GiB` : `${(n / 2 ** 20).toFixed(1)} MiB`;
}
