// One line about the whole queue, asked for gently: only while somebody looks.

import { getQueue } from './api.js';
import { duration, number, setText, text } from './page.js';

const pause = 10_000;
const soon = 1_500;
let look = async () => {};
let soonTimer = 0;
const element = id => document.getElementById(id);

/** @param onLook called each time the queue was looked at, for others who want to look as often. */
export function watchQueue(onLook) {
  let looking = false;

  look = async () => {
    if (document.hidden || looking) return;
    looking = true;
    try {
      show(await getQueue());
      await onLook();
    } catch {
      element('queue').classList.add('stale');
    } finally {
      looking = false;
    }
  };

  document.addEventListener('visibilitychange', () => look());
  addEventListener('online', () => look());
  setInterval(() => look(), pause);
  look();
}

/** Something has moved in the queue: many moves in a row are worth one look. */
export function lookSoon() {
  if (soonTimer !== 0) return;
  soonTimer = setTimeout(() => {
    soonTimer = 0;
    look();
  }, soon);
}

function show(queue) {
  const backends = queue.backends ?? [];
  // Null means that nobody has asked it yet: no reason to worry anybody.
  const healthy = backends.filter(backend => backend.healthy !== false).length;
  const usable = backends.filter(backend => backend.healthy !== false && !backend.paused).length;
  const trouble = queue.paused ? text('QueuePaused')
    : backends.length > 0 && healthy === 0 ? text('QueueNoBackend')
    : backends.length > 0 && usable === 0 ? text('QueueServersPaused') : '';

  element('queue').hidden = false;
  element('queue').classList.remove('stale');
  setText(element('queue-waiting'), number(queue.waiting ?? 0));
  setText(element('queue-generating'), number(queue.processing ?? 0));
  setText(element('queue-details'), [
    backends.length > 0 && text('Servers', { healthy: number(usable), all: number(backends.length) }),
    queue.seconds_per_image > 0 && text('QueuePace', { time: duration(queue.seconds_per_image) }),
  ].filter(Boolean).join(' · '));
  element('queue-light').dataset.state = trouble ? 'trouble' : usable < backends.length ? 'partly' : 'good';
  setText(element('queue-notice'), trouble);
  element('queue-notice').hidden = !trouble;
}
