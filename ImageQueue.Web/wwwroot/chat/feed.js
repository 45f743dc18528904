// Keeps one conversation's messages right: reads them, listens to their events, and starts over after every gap.
// An event stream that was away may have missed something, so each time it opens, the messages are read again.

import { ApiError, getMessage, getMessages } from './api.js';
import { openStream } from './stream.js';

const shortestPause = 1_000;
const longestPause = 10_000;
const lookPause = 5_000;
const idleToPark = 60_000;
const pageSize = 50;

export class Feed {
  #id;
  #messages;
  #events;
  #stream = null;
  #reconnect = 0;
  #pause = shortestPause;
  #loading = null;
  #loadAgain = false;
  #hiddenAt = null;
  #oldest = null;
  #earlier = null;
  #looking;
  #stop = new AbortController();

  /** Whether the server would not show this conversation, so that nothing is under way. */
  isRefused = false;

  /**
   * @param events { onConnection(isConnected), onLoaded(owner), onRefused(error) }: onRefused says that the server will not
   * show this conversation, 404 when it does not exist.
   */
  constructor(conversationId, messages, events) {
    this.#id = conversationId;
    this.#messages = messages;
    this.#events = events;

    const signal = this.#stop.signal;
    addEventListener('online', () => this.#wake(), { signal });
    addEventListener('pageshow', shown => shown.persisted && this.#wake(), { signal });
    document.addEventListener('visibilitychange', () => this.#visibilityChanged(), { signal });
    this.#looking = setInterval(() => this.#lookAfter(), lookPause);
  }

  async start() {
    if (await this.#load()) this.#connect();
  }

  stop() {
    this.#stop.abort();
    clearInterval(this.#looking);
    this.#disconnect();
  }

  /** Makes sure, now, that the messages are right and the events flow. */
  refresh() {
    if (this.#stop.signal.aborted) return;
    this.isRefused = false;
    this.#pause = shortestPause;
    if (this.#stream?.readyState === EventSource.OPEN) {
      this.#load();
    } else {
      this.#disconnect();
      this.start();
    }
  }

  /** Whether there are messages before those that were read. */
  get hasEarlier() {
    return this.#earlier !== null;
  }

  /** Reads the page before those that were read. */
  async loadEarlier() {
    if (this.#earlier === null) return;
    const askedAt = performance.now();
    const page = await getMessages(this.#id, { before: this.#earlier, limit: pageSize });
    if (this.#stop.signal.aborted) return;
    this.#takePage(page, askedAt);
  }

  #takePage(page, askedAt) {
    this.#messages.load(page.messages, askedAt);
    this.#oldest = page.messages[0]?.id ?? this.#oldest;
    this.#earlier = page.previous;
  }

  #connect() {
    if (this.#stream || this.#stop.signal.aborted) return;

    const stream = openStream(this.#id);
    this.#stream = stream;
    stream.addEventListener('open', () => {
      this.#pause = shortestPause;
      this.#load();
    });
    stream.addEventListener('image_progress', event => this.#take(event));
    stream.addEventListener('message', event => this.#takeWords(event));
    stream.addEventListener('error', () => {
      if (stream !== this.#stream) return;
      this.#events.onConnection(false);
      // A broken connection the browser mends itself, with Last-Event-ID. After an HTTP error it gives up for good.
      if (stream.readyState === EventSource.CLOSED) this.#startLater();
    });
  }

  #disconnect() {
    clearTimeout(this.#reconnect);
    this.#stream?.close();
    this.#stream = null;
  }

  #startLater() {
    this.#disconnect();
    if (this.#stop.signal.aborted) return;
    // Spread out, so that a restarted server does not meet all its readers in the same moment.
    const pause = navigator.onLine ? this.#pause : longestPause;
    this.#reconnect = setTimeout(() => this.start(), pause * (0.8 + Math.random() * 0.4));
    this.#pause = Math.min(this.#pause * 2, longestPause);
  }

  async #take(event) {
    let data;
    try {
      data = JSON.parse(event.data);
    } catch {
      return;
    }

    // Of what nobody has read yet: it comes with its page.
    if (this.#earlier !== null && data.message_id < this.#oldest) return;
    const message = this.#messages.apply(data);
    if (message && !message.hasRow) await this.#loadOne(message.id);
  }

  #takeWords(event) {
    let row;
    try {
      row = JSON.parse(event.data);
    } catch {
      return;
    }

    if (row.deleted) this.#messages.remove(row.id);
    else if (this.#earlier === null || row.id > this.#oldest) this.#messages.load([row], performance.now());
  }

  async #loadOne(id) {
    const askedAt = performance.now();
    try {
      const row = await getMessage(id);
      if (!this.#stop.signal.aborted) this.#messages.load([row], askedAt);
    } catch {
      // The next reading of all messages brings it.
    }
  }

  /** Reads the messages, the newest at first, and then all that were read before; calls that come meanwhile lead to one more reading. Answers whether it worked. */
  #load() {
    if (this.#loading) {
      this.#loadAgain = true;
      return this.#loading;
    }

    this.#loading = this.#readAll().finally(() => {
      this.#loading = null;
      if (this.#loadAgain) {
        this.#loadAgain = false;
        this.#load();
      }
    });
    return this.#loading;
  }

  async #readAll() {
    let owner;
    try {
      let after = this.#oldest === null ? null : this.#oldest - 1;
      do {
        const askedAt = performance.now();
        const page = await getMessages(this.#id, after === null ? { before: Number.MAX_SAFE_INTEGER, limit: pageSize } : { after });
        if (this.#stop.signal.aborted) return false;
        owner = page.username;
        if (after === null) this.#takePage(page, askedAt);
        else this.#messages.load(page.messages, askedAt);
        after = page.next ?? null;
      } while (after !== null);
    } catch (error) {
      if (this.#stop.signal.aborted) return false;
      if (error instanceof ApiError && error.status < 500 && error.status !== 429) {
        this.#disconnect();
        this.isRefused = true;
        this.#events.onRefused(error);
      } else {
        this.#events.onConnection(false);
        this.#startLater();
      }
      return false;
    }

    if (this.#stream?.readyState === EventSource.OPEN) this.#events.onConnection(true);
    this.#events.onLoaded(owner);
    return true;
  }

  #visibilityChanged() {
    this.#hiddenAt = document.hidden ? performance.now() : null;
    if (!document.hidden) this.#wake();
  }

  /** What the server refused once it would refuse again: only a reason that the caller knows of asks anew. */
  #wake() {
    if (!this.isRefused) this.refresh();
  }

  /**
   * Looks after what is under way: places in line move without an event of their own, a connection can be dead without
   * either side knowing, and a proxy can hold events back.
   */
  async #lookAfter() {
    const unfinished = this.#messages.unfinished;
    if (this.#stream && unfinished.length > 0 && !document.hidden && !this.#loading) {
      const askedAt = performance.now();
      try {
        const { messages } = await getMessages(this.#id, { after: Math.min(...unfinished.map(message => message.order)) - 1 });
        if (!this.#stop.signal.aborted) this.#messages.load(messages, askedAt);
      } catch {
        this.#load();
      }
    }

    // Browsers allow six connections to a server over HTTP/1.1: a forgotten tab with nothing to wait for gives its own back.
    const isForgotten = this.#hiddenAt !== null && performance.now() - this.#hiddenAt > idleToPark;
    if (this.#stream && unfinished.length === 0 && isForgotten) this.#disconnect();
  }
}
