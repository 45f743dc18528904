// The queue summary, polled only while the page is visible.

import { getQueue } from './api.js';
import { duration, number, setText, text } from './page.js';

const pause = 10_000;
const soon = 1_500;
let poll = async () => {};
let soonTimer = 0;
let paused = false;
const element = id => document.getElementById(id);

/** @param onPolled called after each poll. */
export function watchQueue(onPolled) {
  let polling = false;

  poll = async () => {
    if (document.hidden || polling) return;
    polling = true;
    try {
      show(await getQueue());
      await onPolled();
    } catch {
      element('queue').classList.add('stale');
    } finally {
      polling = false;
    }
  };

  document.addEventListener('visibilitychange', () => poll());
  addEventListener('online', () => poll());
  setInterval(() => poll(), pause);
  poll();
}

/** Whether an operator keeps all waiting requests from starting, as far as is known. */
export const isPaused = () => paused;

/** The queue has changed: several changes in a row cause one poll. */
export function refreshQueueSoon() {
  if (soonTimer !== 0) return;
  soonTimer = setTimeout(() => {
    soonTimer = 0;
    poll();
  }, soon);
}

function show(queue) {
  const backends = queue.backends ?? [];
  // Null: not probed yet, which is not a trouble.
  const healthy = backends.filter(backend => backend.healthy !== false).length;
  const usable = backends.filter(backend => backend.healthy !== false && !backend.paused).length;
  const isDraining = backends.some(backend => backend.draining)
    && backends.every(backend => backend.healthy === false || backend.paused || backend.draining);
  paused = queue.paused || (usable === 0 && healthy > 0);
  const trouble = queue.paused ? text('QueuePaused')
    : backends.length > 0 && healthy === 0 ? text('QueueNoBackend')
    : backends.length > 0 && usable === 0 ? text('QueueServersPaused') : '';

  element('queue').hidden = false;
  element('queue').classList.remove('stale');
  setText(element('queue-waiting'), number(queue.waiting ?? 0));
  setText(element('queue-generating'), number(queue.processing ?? 0));
  setText(element('queue-details'), [
    backends.length > 0 && text('Servers', { healthy: number(usable), all: number(backends.length) }),
    isDraining && text('QueueDraining'),
    queue.seconds_per_image > 0 && text('QueuePace', { time: duration(queue.seconds_per_image) }),
  ].filter(Boolean).join(' · '));
  element('queue-light').dataset.state = trouble ? 'trouble' : usable < backends.length ? 'partly' : 'good';
  setText(element('queue-notice'), trouble);
  element('queue-notice').hidden = !trouble;
}
