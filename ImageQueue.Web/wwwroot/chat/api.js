// The calls of ImageQueue's HTTP API that the page makes, and what can go wrong with them.

import { address, duration, optionalText, text } from './page.js';

/** The server answered, and said no. The message is a sentence to show. */
export class ApiError extends Error {
  constructor(status, code, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** Whether the request may have been carried out all the same, so that only the same request may follow it. */
  get isUncertain() {
    return this.status >= 500;
  }
}

/** No answer came: nobody knows whether the request arrived. */
export class ConnectionError extends Error {
  get isUncertain() {
    return true;
  }
}

export const getQueue = () => request('GET', 'api/queue');
export const getMessage = id => request('GET', `api/messages/${encodeURIComponent(id)}`);
export const cancelImage = id => request('POST', `api/messages/${encodeURIComponent(id)}/cancel`);
export const retryImage = id => request('POST', `api/messages/${encodeURIComponent(id)}/retry`);

/** One page of messages, oldest first: { after } or { before } an id, and the id to go on from. */
export function getMessages(conversationId, place) {
  const query = new URLSearchParams({ limit: '200', ...place });
  return request('GET', `api/conversations/${encodeURIComponent(conversationId)}/messages?${query}`);
}

/** Asks for an image. The same key never makes a second one, however often it is sent. */
export function submitImage(conversationId, image, idempotencyKey) {
  return request('POST', `api/conversations/${encodeURIComponent(conversationId)}/images`, image, { 'Idempotency-Key': idempotencyKey });
}

async function request(method, path, body, headers = {}) {
  let response;
  try {
    response = await fetch(address(path), {
      method,
      headers: { Accept: 'application/json', ...(body && { 'Content-Type': 'application/json' }), ...headers },
      body: body && JSON.stringify(body),
      cache: 'no-store',
      signal: AbortSignal.timeout(20_000),
    });
    if (response.ok) return await response.json();
  } catch (cause) {
    throw new ConnectionError(text('NotSent'), { cause });
  }

  throw await problem(response);
}

/** Errors are RFC 9457 problem details; a proxy in between may answer with anything. */
async function problem(response) {
  // The sign-in has ended: there is nothing to do here until somebody signs in again.
  if (response.status === 401) location.assign(address(`login?${new URLSearchParams({ return: location.pathname + location.search })}`));

  let detail;
  let code = '';
  try {
    const details = await response.json();
    code = typeof details.code === 'string' ? details.code : '';
    // The code is in the reader's language; where there is no sentence for it, the server's own says more than none.
    detail = optionalText(`Problem_${code}`) ?? details.detail ?? details.title;
  } catch {
    // Not JSON: the general sentence has to do.
  }

  detail = typeof detail === 'string' && detail ? detail : text('Failed');
  const retryAfter = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
  if (retryAfter > 0) detail += ' ' + text('TryIn', { time: duration(retryAfter) });
  return new ApiError(response.status, code, detail, retryAfter);
}
