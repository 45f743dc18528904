// A conversation's event stream. All tabs share one connection in a worker: over HTTP/1.1 a browser has six connections per
// server, and a seventh tab would hang. Without shared workers, each tab has its own.

import { address } from './page.js';

const stillHere = 20_000;

/**
 * @returns the interface of EventSource: readyState, close(), and events open, error, image_progress and message.
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
    this.#port.postMessage({ conversation: conversationId, root: new URL(address(''), location.href).href });
    worker.addEventListener('error', () => this.#take({ type: 'error', isClosed: true }));
    // A crashed tab sends no close: the worker drops silent tabs.
    this.#timer = setInterval(() => this.#port.postMessage({ here: true }), stillHere);
    // The page may come back from the browser's cache: its feed then opens another stream.
    addEventListener('pagehide', this.close);
  }

  close = () => {
    this.readyState = EventSource.CLOSED;
    clearInterval(this.#timer);
    removeEventListener('pagehide', this.close);
    this.#port.postMessage({ close: true });
  };

  #take({ type, data, isClosed }) {
    if (this.readyState === EventSource.CLOSED) return;
    if (type === 'open') this.readyState = EventSource.OPEN;
    if (type === 'error') this.readyState = isClosed ? EventSource.CLOSED : EventSource.CONNECTING;
    this.dispatchEvent(data === undefined ? new Event(type) : new MessageEvent(type, { data }));
    if (isClosed) this.close();
  }
}
