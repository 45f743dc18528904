// The newest known state of every message of one conversation, from two sources that may overtake each other:
// lists that were read, and events that were pushed.

export const isUnfinished = message => message.status === 'queued' || message.status === 'processing';

const numberOr = (value, otherwise) => (value == null || Number.isNaN(Number(value)) ? otherwise : Number(value));

export class Messages {
  #byId = new Map();
  #onChange;

  /** @param onChange called with (message, before) whenever a message is new or different. */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  get(id) {
    return this.#byId.get(String(id));
  }

  /** All messages in the order in which they were written. */
  all() {
    return [...this.#byId.values()].sort((a, b) => a.order - b.order);
  }

  get unfinished() {
    return [...this.#byId.values()].filter(isUnfinished);
  }

  /**
   * Takes messages that the API returned.
   * @param askedAt when they were asked for (performance.now()): an event that came since may be newer than they are.
   */
  load(rows, askedAt) {
    for (const row of rows) {
      const before = this.get(row.id);
      const revision = numberOr(row.revision, null);
      const older = before && (revision == null ? before.eventAt > askedAt : revision < before.revision);
      const loaded = fromRow(row, before);
      this.#put(older ? { ...before, settings: loaded.settings } : loaded, before);
    }
  }

  /**
   * Takes an event.
   * @returns the message, or null where the event is older than what is known.
   */
  apply(event) {
    const before = this.get(event.message_id);
    const revision = numberOr(event.revision, 0);
    if (before && revision < before.revision) return null;

    const message = {
      settings: {},
      createdAt: new Date(),
      content: '',
      role: 'bot',
      ...before,
      id: String(event.message_id),
      order: Number(event.message_id),
      jobId: event.job_id ?? before?.jobId,
      prompt: event.prompt ?? before?.prompt ?? '',
      status: event.status,
      progress: numberOr(event.progress, 0),
      position: numberOr(event.queue_position, 0),
      eta: etaFrom(event.eta_seconds),
      imageUrl: event.image_url ?? null,
      previewUrl: event.preview_url ?? null,
      error: event.error ?? null,
      revision,
      eventAt: performance.now(),
      // Events leave out what does not change while an image is made; the row has it.
      hasRow: Boolean(before?.hasRow) && (event.status === before.status || event.status === 'queued' || event.status === 'processing'),
    };
    if (isUnfinished(message)) message.result = null;
    this.#put(message, before);
    return message;
  }

  #put(message, before) {
    this.#byId.set(message.id, message);
    this.#onChange(message, before);
  }
}

/** What the page needs of a message as the API returns it. */
export function fromRow(row, before) {
  const meta = row.extra_metadata ?? {};
  return {
    id: String(row.id),
    order: Number(row.id),
    role: row.role,
    content: row.content ?? '',
    createdAt: new Date(row.created_at),
    jobId: meta.job_id ?? null,
    prompt: typeof meta.prompt === 'string' ? meta.prompt : '',
    status: meta.status ?? null,
    progress: numberOr(meta.progress, 0),
    position: numberOr(row.queue?.position ?? meta.queue_position, 0),
    eta: etaFrom(row.queue?.eta_seconds),
    imageUrl: meta.image_url ?? null,
    previewUrl: meta.preview_url ?? null,
    error: meta.error ?? null,
    settings: meta.settings ?? {},
    result: meta.result ?? null,
    revision: Math.max(numberOr(row.revision, 0), before?.revision ?? 0),
    eventAt: before?.eventAt ?? 0,
    hasRow: true,
  };
}

/** The moment at which an image is expected, by this device's clock: the server's may differ. */
function etaFrom(seconds) {
  return seconds == null || Number.isNaN(Number(seconds)) ? null : performance.now() + Number(seconds) * 1000;
}
