// What the browser remembers: who one is and one's choices for good, drafts and pending images for the tab.
// Storage may be full, forbidden or edited by hand; the page works without it.

const key = 'imagequeue.chat';
const pendingKey = 'imagequeue.pending';
const draftKey = id => `imagequeue.draft.${id ?? 'new'}`;

let state = read();
let pending = readPending();

function read() {
  const fresh = { name: null, size: null, model: null, notify: false };
  try {
    const { name, size, model, notify } = { ...fresh, ...JSON.parse(localStorage.getItem(key)) };
    return { name, size, model, notify };
  } catch {
    return fresh;
  }
}

function readPending() {
  try {
    const stored = JSON.parse(sessionStorage.getItem(pendingKey));
    return Array.isArray(stored) ? stored.filter(one => typeof one?.id === 'string') : [];
  } catch {
    return [];
  }
}

/** Another tab may have written since: merge into its state. */
function change(edit) {
  if (hasStorage) state = read();
  edit(state);
  try {
    localStorage.setItem(key, JSON.stringify(state));
  } catch {
    // Kept in memory until the page closes.
  }
}

const hasStorage = (() => {
  try {
    localStorage.setItem('imagequeue.probe', '1');
    localStorage.removeItem('imagequeue.probe');
    return true;
  } catch {
    return false;
  }
})();

export const name = () => state.name;
export const setName = value => change(memory => { memory.name = value; });

export const preferredSize = () => state.size;
export const setPreferredSize = value => change(memory => { memory.size = value; });

export const preferredModel = () => state.model;
export const setPreferredModel = value => change(memory => { memory.model = value; });

export const wantsNotifications = () => state.notify === true;
export const setWantsNotifications = value => change(memory => { memory.notify = value; });

/** Conversations with pending images or news: { id, pending: [message ids], news }. */
export const conversations = () => pending;
export const conversation = id => pending.find(one => one.id === id);

/** Adds or updates a conversation; one without pending images or news is dropped. */
export function keepConversation(id, values) {
  const known = { id, pending: [], news: false, ...conversation(id), ...values };
  pending = [...pending.filter(one => one.id !== id), ...(known.pending.length > 0 || known.news ? [known] : [])];
  try {
    sessionStorage.setItem(pendingKey, JSON.stringify(pending));
  } catch {
    // Kept in memory until the page closes.
  }
}

export function forgetConversation(id) {
  keepConversation(id, { pending: [], news: false });
  keepDraft(id, null);
}

/** Calls back when another tab has changed the state. */
export function onOtherTab(callback) {
  addEventListener('storage', event => {
    if (event.key !== key) return;
    state = read();
    callback();
  });
}

/** A draft lives as long as its tab: { text, attempt: { body, key } }. */
export function draft(conversationId) {
  try {
    return JSON.parse(sessionStorage.getItem(draftKey(conversationId))) ?? {};
  } catch {
    return {};
  }
}

export function keepDraft(conversationId, value) {
  try {
    if (value) sessionStorage.setItem(draftKey(conversationId), JSON.stringify(value));
    else sessionStorage.removeItem(draftKey(conversationId));
  } catch {
    // A lost draft is no error.
  }
}
