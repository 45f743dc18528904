// Live changes of one conversation. All tabs of a browser share one connection, in a worker: over HTTP/1.1 a browser has six
// connections to a server, and a seventh tab would wait for ever. Where there are no shared workers, each tab has its own.

import { address } from './page.js';

const stillHere = 20_000;

/**
 * @returns what an EventSource is to its user: readyState, close(), and events open, error, image_progress and message.
 */
export function openStream(conversationId) {
  return 'SharedWorker' in globalThis
    ? new SharedStream(conversationId)
    : new EventSource(address(`api/conversations/${encodeURIComponent(conversationId)}/events`));
}

class SharedStream extends EventTarget {
  #port;
  #timer;

  readyState = EventSource.CONNECTING;

  constructor(conversationId) {
    super();
    const worker = new SharedWorker(new URL('./stream-worker.js', import.meta.url), { name: 'imagequeue-events' });
    this.#port = worker.port;
    this.#port.addEventListener('message', ({ data }) => this.#take(data));
    this.#port.start();
    this.#port.postMessage({ conversation: conversationId, root: new URL(address('/'), location.href).href });
    worker.addEventListener('error', () => this.#take({ type: 'error', isClosed: true }));
    // A tab that crashes says no goodbye: the worker forgets who has been silent for long.
    this.#timer = setInterval(() => this.#port.postMessage({ here: true }), stillHere);
    addEventListener('pagehide', this.#leave);
  }

  close() {
    this.readyState = EventSource.CLOSED;
    this.#leave();
  }

  #leave = () => {
    clearInterval(this.#timer);
    removeEventListener('pagehide', this.#leave);
    this.#port.postMessage({ close: true });
  };

  #take({ type, data, isClosed }) {
    if (this.readyState === EventSource.CLOSED) return;
    if (type === 'open') this.readyState = EventSource.OPEN;
    if (type === 'error') this.readyState = isClosed ? EventSource.CLOSED : EventSource.CONNECTING;
    this.dispatchEvent(data === undefined ? new Event(type) : new MessageEvent(type, { data }));
    if (isClosed) this.#leave();
  }
}
