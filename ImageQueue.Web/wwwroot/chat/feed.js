// Keeps a conversation's messages current: reads them, follows their events, and reads again after every gap.

import { ApiError, getMessages } from './api.js';
import { openStream } from './stream.js';

const shortestPause = 1_000;
const longestPause = 10_000;
const pollPause = 5_000;
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
  #polling;
  #stop = new AbortController();

  /** Whether the server refused this conversation; nothing is polled then. */
  isRefused = false;

  /**
   * @param events { onConnection(isConnected), onLoaded(owner), onRefused(error) }: onRefused: the server refused
   * this conversation, with 404 when it does not exist.
   */
  constructor(conversationId, messages, events) {
    this.#id = conversationId;
    this.#messages = messages;
    this.#events = events;

    const signal = this.#stop.signal;
    addEventListener('online', () => this.#wake(), { signal });
    addEventListener('pageshow', shown => shown.persisted && this.#wake(), { signal });
    document.addEventListener('visibilitychange', () => this.#visibilityChanged(), { signal });
    this.#polling = setInterval(() => this.#pollUnfinished(), pollPause);
  }

  async start() {
    if (await this.#load()) this.#connect();
  }

  stop() {
    this.#stop.abort();
    clearInterval(this.#polling);
    this.#disconnect();
  }

  /** Reads the messages now and reconnects the events if needed. */
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

  /** Whether there are earlier messages. */
  get hasEarlier() {
    return this.#earlier !== null;
  }

  /** Reads the previous page. */
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
    stream.addEventListener('message', event => this.#takeMessage(event));
    stream.addEventListener('error', () => {
      if (stream !== this.#stream) return;
      this.#events.onConnection(false);
      // The browser reconnects a broken connection itself, with Last-Event-ID. After an HTTP error it gives up.
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
    // Jitter, so that a restarted server does not get all its clients at once.
    const pause = navigator.onLine ? this.#pause : longestPause;
    this.#reconnect = setTimeout(() => this.start(), pause * (0.8 + Math.random() * 0.4));
    this.#pause = Math.min(this.#pause * 2, longestPause);
  }

  #take(event) {
    let data;
    try {
      data = JSON.parse(event.data);
    } catch {
      return;
    }

    // On a page that has not been loaded yet.
    if (this.#earlier !== null && data.message_id < this.#oldest) return;
    this.#messages.apply(data);
  }

  #takeMessage(event) {
    let row;
    try {
      row = JSON.parse(event.data);
    } catch {
      return;
    }

    if (row.deleted) this.#messages.remove(row.id);
    else if (this.#earlier === null || row.id > this.#oldest) this.#messages.load([row], performance.now());
  }

  /** Reads the newest messages first, later all loaded ones; concurrent calls cause one more read. Resolves to whether it worked. */
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

  /** A refused conversation stays refused until the caller refreshes. */
  #wake() {
    if (!this.isRefused) this.refresh();
  }

  /**
   * Polls unfinished messages: positions move without an event, a connection can be dead unnoticed, and a proxy can
   * buffer events.
   */
  async #pollUnfinished() {
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

    // Over HTTP/1.1 a browser has six connections per server: a hidden tab without pending images closes its own.
    const isIdle = this.#hiddenAt !== null && performance.now() - this.#hiddenAt > idleToPark;
    if (this.#stream && unfinished.length === 0 && isIdle) this.#disconnect();
  }
}
