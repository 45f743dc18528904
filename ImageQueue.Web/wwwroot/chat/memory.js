// Browser storage: name, conversations and drafts. It may be full, forbidden or edited by hand; the page works without it.

const key = 'imagequeue.chat';
const draftKey = id => `imagequeue.draft.${id ?? 'new'}`;

let state = read();

function read() {
  const fresh = { name: null, conversations: [], size: null, model: null, notify: false };
  try {
    const stored = JSON.parse(localStorage.getItem(key));
    if (!Array.isArray(stored?.conversations)) return { ...fresh, name: stored?.name ?? null };
    return { ...fresh, ...stored, conversations: stored.conversations.filter(one => typeof one?.id === 'string') };
  } catch {
    return fresh;
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

/** This name's conversations, last used first: { id, owner, title, usedAt, pending: [message ids], news }. */
export function conversations() {
  return state.conversations.filter(one => one.owner === state.name).sort((a, b) => b.usedAt - a.usedAt);
}

export const conversation = id => state.conversations.find(one => one.id === id);

/** Adds or updates a conversation. */
export function keepConversation(id, values) {
  change(memory => {
    const known = memory.conversations.find(one => one.id === id);
    if (known) Object.assign(known, values);
    else memory.conversations.push({ id, owner: memory.name, title: '', usedAt: Date.now(), pending: [], news: false, ...values });
  });
}

export function forgetConversation(id) {
  change(memory => { memory.conversations = memory.conversations.filter(one => one.id !== id); });
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
