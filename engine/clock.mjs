// Timestamps of a run's events: microseconds since the epoch, 16 digits.

const MICROS_PER_MILLI = 1000;

/**
 * Returns a function that gives the time as text. Each value is larger than the
 * one before, because Lightning sorts log lines by it and lines of one
 * microsecond would change places. The base is the wall clock at the moment of
 * the call, so a child that waited for hours does not drift.
 */
export function startClock() {
  const { performance } = globalThis;
  const now = performance.now.bind(performance);
  const base = (Date.now() - now()) * MICROS_PER_MILLI;
  let last = 0;
  return () => {
    last = Math.max(Math.round(base + now() * MICROS_PER_MILLI), last + 1);
    return String(last);
  };
}
