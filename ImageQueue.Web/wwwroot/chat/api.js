// The page's calls of the HTTP API, and their errors.

import { address, duration, optionalText, text } from './page.js';

/** The server refused the request. The message tells the user why, and when to try again; the reason only why. */
export class ApiError extends Error {
  constructor(status, code, reason, retryAfter) {
    super(retryAfter > 0 ? `${reason} ${text('TryIn', { time: duration(retryAfter) })}` : reason);
    this.reason = reason;
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** Whether the request may have been carried out, so that a retry needs the same idempotency key. */
  get isUncertain() {
    return this.status >= 500;
  }
}

/** No response: whether the request arrived is unknown. */
export class ConnectionError extends Error {
  get isUncertain() {
    return true;
  }
}

export const getQueue = () => request('GET', 'api/queue');
export const getModels = () => request('GET', 'api/models');
export const getMessage = id => request('GET', `api/messages/${encodeURIComponent(id)}`);
export const cancelImage = id => request('POST', `api/messages/${encodeURIComponent(id)}/cancel`);
export const retryImage = id => request('POST', `api/messages/${encodeURIComponent(id)}/retry`);

/** A user's conversations, newest first, and the id to go on from. */
export function listConversations(username, after) {
  const query = new URLSearchParams({ username, limit: '100', ...(after !== null && { after }) });
  return request('GET', `api/conversations?${query}`);
}

export const renameConversation = (id, title) => request('PATCH', `api/conversations/${encodeURIComponent(id)}`, { title });
export const deleteConversation = id => request('DELETE', `api/conversations/${encodeURIComponent(id)}`);

/** One page of messages, oldest first: { after } or { before } an id, and the id to go on from. */
export function getMessages(conversationId, place) {
  const query = new URLSearchParams({ limit: '200', ...place });
  return request('GET', `api/conversations/${encodeURIComponent(conversationId)}/messages?${query}`);
}

/** Stores an image or a mask to start from: { upload_id, ... }. */
export function uploadImage(conversationId, image) {
  return request('POST', `api/conversations/${encodeURIComponent(conversationId)}/uploads`, image, {}, 120_000);
}

/** Submits an image request. The same key never creates a second one. */
export function submitImage(conversationId, image, idempotencyKey) {
  return request('POST', `api/conversations/${encodeURIComponent(conversationId)}/images`, image, { 'Idempotency-Key': idempotencyKey });
}

/** @param body sent as JSON, a Blob as it is. */
async function request(method, path, body, headers = {}, patience = 20_000) {
  let response;
  try {
    response = await fetch(address(path), {
      method,
      headers: { Accept: 'application/json', ...(body && { 'Content-Type': body.type || 'application/json' }), ...headers },
      body: body instanceof Blob ? body : body && JSON.stringify(body),
      cache: 'no-store',
      keepalive: method === 'DELETE', // An erase is sent even as its tab closes.
      signal: AbortSignal.timeout(patience),
    });
    if (response.ok) return response.status === 204 ? null : await response.json();
  } catch (cause) {
    throw new ConnectionError(text('NotSent'), { cause });
  }

  throw await problem(response);
}

/** Errors are RFC 9457 problem details; a proxy may answer with anything. */
async function problem(response) {
  // The sign-in has ended: sign in again and come back.
  if (response.status === 401) location.assign(address(`login?${new URLSearchParams({ return: location.pathname + location.search })}`));

  let detail;
  let code = '';
  try {
    const details = await response.json();
    code = typeof details.code === 'string' ? details.code : '';
    // A sentence in the reader's language, or the server's own detail where there is none.
    detail = optionalText(`Problem_${code}`) ?? details.detail ?? details.title;
  } catch {
    // Not JSON: use the general sentence.
  }

  detail = typeof detail === 'string' && detail ? detail : text('Failed');
  return new ApiError(response.status, code, detail, Number.parseInt(response.headers.get('Retry-After') ?? '', 10));
}
