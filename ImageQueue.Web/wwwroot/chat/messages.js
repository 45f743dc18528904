// The newest known state of a conversation's messages, from lists and events that may overtake each other.

export const isUnfinished = message => message.status === 'queued' || message.status === 'processing';

const statuses = ['queued', 'processing', 'complete', 'error', 'cancelled'];

/** An unknown status counts as error. */
const statusFrom = value => (statuses.includes(value) ? value : 'error');

const textFrom = value => (typeof value === 'string' ? value : null);

const objectFrom = value => (value !== null && typeof value === 'object' && !Array.isArray(value) ? value : null);

/** Only images of this server: the page never links elsewhere. */
const imageFrom = value => (typeof value === 'string' && /^\/(?:[\w.~%-]+\/)*images\/[\w.-]+$/.test(value) ? value : null);

const numberOr = (value, otherwise) => (value == null || Number.isNaN(Number(value)) ? otherwise : Number(value));

export class Messages {
  #byId = new Map();
  #removed = new Set();
  #onChange;

  /** @param onChange called with (message, before) whenever a message is new or different; (null, before) when it is gone. */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  get(id) {
    return this.#byId.get(String(id));
  }

  /** All messages in id order. */
  all() {
    return [...this.#byId.values()].sort((a, b) => a.order - b.order);
  }

  get unfinished() {
    return [...this.#byId.values()].filter(isUnfinished);
  }

  /**
   * Merges messages that the API returned.
   * @param askedAt time of the request (performance.now()): a later event is newer than its response.
   */
  load(rows, askedAt) {
    for (const row of rows) {
      try {
        this.#loadOne(row, askedAt);
      } catch (error) {
        // One malformed message must not hide the others.
        console.warn('A message could not be shown.', row?.id, error);
      }
    }
  }

  #loadOne(row, askedAt) {
    if (this.#removed.has(String(row.id))) return; // The list was read before the message was erased.
    const before = this.get(row.id);
    const revision = numberOr(row.revision, null);
    const older = before && (revision == null ? before.eventAt > askedAt : revision < before.revision);
    const loaded = fromRow(row, before);
    // An event has all of a newer state but when the message was created.
    this.#put(older ? { ...before, createdAt: loaded.createdAt } : loaded, before);
  }

  /** Applies an event, unless a newer state is known. */
  apply(event) {
    if (this.#removed.has(String(event.message_id))) return;
    const before = this.get(event.message_id);
    const revision = numberOr(event.revision, 0);
    if (before && revision < before.revision) return;

    if (event.status === 'deleted') {
      this.remove(event.message_id);
      return;
    }

    const message = {
      createdAt: new Date(), // Until its row is read.
      content: '',
      role: 'bot',
      ...before,
      kind: 'image',
      id: String(event.message_id),
      order: Number(event.message_id),
      jobId: textFrom(event.job_id) ?? before?.jobId,
      prompt: textFrom(event.prompt) ?? before?.prompt ?? '',
      status: statusFrom(event.status),
      progress: numberOr(event.progress, 0),
      position: numberOr(event.queue_position, 0),
      eta: etaFrom(event.eta_seconds),
      imageUrl: imageFrom(event.image_url),
      thumbnailUrl: imageFrom(event.thumbnail_url),
      previewUrl: imageFrom(event.preview_url),
      error: textFrom(event.error),
      errorCode: textFrom(event.error_code),
      settings: objectFrom(event.settings) ?? {},
      result: objectFrom(event.result),
      source: objectFrom(event.source),
      groupId: textFrom(event.group_id),
      revision,
      eventAt: performance.now(),
    };
    this.#put(message, before);
  }

  /** Removes an erased message for good: an older list may still arrive. */
  remove(id) {
    this.#removed.add(String(id));
    const before = this.get(id);
    if (before && this.#byId.delete(before.id)) this.#onChange(null, before);
  }

  #put(message, before) {
    this.#byId.set(message.id, message);
    this.#onChange(message, before);
  }
}

/** Maps a message of the API. */
export function fromRow(row, before) {
  const isImage = row.kind === 'image';
  const meta = isImage ? row.extra_metadata ?? {} : {}; // On other messages the keys belong to the chat app.
  return {
    kind: row.kind,
    id: String(row.id),
    order: Number(row.id),
    role: row.role,
    content: row.content ?? '',
    createdAt: new Date(row.created_at),
    jobId: textFrom(meta.job_id),
    prompt: textFrom(meta.prompt) ?? '',
    status: isImage ? statusFrom(meta.status) : null,
    progress: numberOr(meta.progress, 0),
    position: numberOr(row.queue?.position ?? meta.queue_position, 0),
    eta: etaFrom(row.queue?.eta_seconds),
    imageUrl: imageFrom(meta.image_url),
    thumbnailUrl: imageFrom(meta.thumbnail_url),
    previewUrl: imageFrom(meta.preview_url),
    error: textFrom(meta.error),
    errorCode: textFrom(meta.error_code),
    settings: objectFrom(meta.settings) ?? {},
    result: objectFrom(meta.result),
    source: objectFrom(meta.source),
    groupId: textFrom(meta.group_id),
    revision: Math.max(numberOr(row.revision, 0), before?.revision ?? 0),
    eventAt: before?.eventAt ?? 0,
  };
}

/** The expected end by this device's clock: the server's may differ. */
function etaFrom(seconds) {
  return seconds == null || Number.isNaN(Number(seconds)) ? null : performance.now() + Number(seconds) * 1000;
}
