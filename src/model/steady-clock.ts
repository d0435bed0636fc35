// Milliseconds since 1970 as they were when this process started, and steadily on from there: for periods and due times. The time of day
// is set back and forth while nodes run; what waits by it waits for an hour when it goes back by one, or not at all.

export function steadyNowMs(): number {
  return Math.floor(performance.timeOrigin + performance.now())
}
