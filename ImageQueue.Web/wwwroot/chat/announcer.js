// Announces changes to screen readers: the newest per message, one every few seconds.

const pause = 3_000;
const waiting = new Map();
let timer = 0;
let spokeAt = -pause;

export function announce(about, sentence) {
  waiting.delete(about);
  waiting.set(about, sentence);
  if (timer === 0) timer = setTimeout(speak, Math.max(100, spokeAt + pause - performance.now()));
}

function speak() {
  const [about, sentence] = waiting.entries().next().value;
  waiting.delete(about);
  spokeAt = performance.now();
  document.getElementById('announcer').textContent = sentence;
  timer = waiting.size > 0 ? setTimeout(speak, pause) : 0;
}
